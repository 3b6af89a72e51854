"""The record of one process: a memory-mapped file that others read while it is written.

Counters are stored in place, some tens of nanoseconds each, and survive SIGKILL. The space is
reserved before it is touched: on a full disk a mapped store would end the program (SIGBUS).

The file is a few tables, described by TABLES below: the writer here and the reader
(`record_file.py`) both take every offset from there. A row of calls belongs to one thread at a
time, so that counts need no lock; a thread that ends leaves its rows to the next that calls the
same. The space of rows and of phases is reserved at their first use.
"""

import atexit
import errno
import mmap
import os
import sys
import time
from _thread import RLock

PAGE = 4096
WORD = 8
TYPE_BYTES = {"q": 8, "d": 8, "S": 1}
"""As NumPy names them: 64-bit integer, double, byte of a text that is padded with zeros."""


class Table:
    """Entries of the same fields, one behind the other from `offset` in the file, in bytes."""

    def __init__(self, offset: int, entries: int, *fields: "tuple[str, str, int]") -> None:
        """`fields`: (name, one of TYPE_BYTES, how many of that type)."""
        self.offset, self.entries, self.fields = offset, entries, fields
        self.at = {}  # type: dict[str, int]
        self.sizes = {}  # type: dict[str, int]
        size = 0
        for name, kind, count in fields:
            self.at[name], self.sizes[name] = size, TYPE_BYTES[kind] * count
            size += self.sizes[name]
        self.entry_bytes = size
        self.end = offset + -(-size * entries // PAGE) * PAGE

    def word(self, name: str) -> int:
        """A field's place in an entry, in words of 64 bits."""
        return self.at[name] // WORD

    def start(self, number: int) -> int:
        """Where an entry is in the file, in bytes."""
        return self.offset + number * self.entry_bytes


MAGIC = b"blobdia1"
BUCKETS = 34

HEADER = Table(
    0,
    1,
    ("magic", "S", 8),  # written last
    ("state", "q", 1),  # 0 or 1: which of the two texts is current
    ("rows_used", "q", 1),
    ("marks_used", "q", 1),
    ("calls_left_out", "q", 1),
    ("marks_left_out", "q", 1),
    ("counters_used", "q", 1),
    ("names_used", "q", 1),
    ("state_0", "S", 2016),
    ("state_1", "S", 2016),
)
# Of `progress`.
COUNTERS = Table(HEADER.end, 32, ("name", "S", 56), ("total", "d", 1))
ROWS = Table(
    COUNTERS.end,
    128,
    ("kind", "S", 256),
    ("exceptions", "q", 1),
    ("timed_calls", "q", 1),
    ("host_seconds", "d", 1),
    ("own_seconds", "d", 1),
    ("intra_op_threads", "q", 1),
    ("input_rows", "q", 1),
    # Calls by their input's rows: first those without rows, then those of 0, then 2 + k: up to
    # 2 ** k rows.
    ("buckets", "q", BUCKETS),
)
# Of phases.
NAMES = Table(ROWS.end, 64, ("name", "S", 64))
MARKS = Table(NAMES.end, 4096, ("name", "q", 1), ("start", "d", 1), ("end", "d", 1))

TABLES = {"header": HEADER, "counters": COUNTERS, "rows": ROWS, "names": NAMES, "marks": MARKS}
FILE_BYTES = MARKS.end

ELSEWHERE = ".elsewhere"

current = None  # type: Record | None


class Record:
    """This process's record. Raises OSError where there is no room for it."""

    def __init__(self, folder: str, state: "dict[str, object]") -> None:
        self.folder = folder
        self.state = state
        self.lock = RLock()
        self.free = {}  # type: dict[tuple[object, ...], list[int]]
        self._names = {}  # type: dict[str, int]
        self._counters = {}  # type: dict[str, int]
        self._reserved = set()  # type: set[int]
        self.pid = os.getpid()
        state["pid"], state["start_ticks"] = self.pid, _start_ticks()
        state["parent_pid"], state["arguments"] = os.getppid(), _arguments()
        name = "{}.{}.{}".format(self.pid, state["start_ticks"], int(1e9 * time.time()))
        if pid_namespace() != os.environ.get("BLOBDIAG_PID_NAMESPACE"):
            # For who reads it, the number is another process's.
            name += ELSEWHERE
        self.path = os.path.join(folder, name)
        held = _hold_closed_streams()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(file, 0, COUNTERS.end)
            os.ftruncate(file, FILE_BYTES)
            self.map = mmap.mmap(file, FILE_BYTES)
            self._file = _identity(file)
        except BaseException:
            os.unlink(self.path)
            raise
        finally:
            for number in [file, *held]:
                os.close(number)
        self.ints = memoryview(self.map).cast("q")
        self.floats = memoryview(self.map).cast("d")
        self.publish()
        self.map[: len(MAGIC)] = MAGIC

    def publish(self) -> None:
        """Write the state down: into the text that is not current, which then becomes it."""
        if not self.lock.acquire(False):
            return
        try:
            text = ascii(self.state).encode("ascii")
            word = HEADER.word("state")
            other = 1 - self.ints[word]
            field = f"state_{other}"
            start, size = HEADER.at[field], HEADER.sizes[field]
            if len(text) <= size:
                self.map[start : start + size] = text.ljust(size, b"\0")
                self.ints[word] = other
        finally:
            self.lock.release()

    def stop(self, reason: str) -> None:
        """Say why nothing is counted from here on; the first reason stays."""
        self.state["reason"] = self.state.get("reason") or reason[:300]
        self.publish()

    def add_to(self, key: str, value: str) -> None:
        """To a list of the state, once."""
        values = self.state.setdefault(key, [])
        if isinstance(values, list) and value not in values:
            values.append(value)
            self.publish()

    def claim_row(self, kind: "tuple[object, ...]") -> "int | None":
        """The first word of a row of these calls that no living thread has; None: all are taken."""
        with self.lock:
            if self.free.get(kind):
                return self.free[kind].pop()
            used = HEADER.word("rows_used")
            number = self.ints[used]
            text = ascii(kind).encode("ascii")
            fits = number < ROWS.entries and len(text) <= ROWS.sizes["kind"]
            if not fits or not self._reserve(ROWS.offset, ROWS.end):
                return None
            start = ROWS.start(number)
            self.map[start : start + len(text)] = text
            self.ints[used] = number + 1
            return start // WORD

    def leave_row(self, kind: "tuple[object, ...]", row: int) -> None:
        """To the next thread that calls the same; no lock, since the collector may call this."""
        self.free.setdefault(kind, []).append(row)

    def leave_out(self, calls: int) -> None:
        """Count calls that have no row."""
        with self.lock:
            self.ints[HEADER.word("calls_left_out")] += calls

    def begin(self, name: str) -> "int | None":
        """A phase begins; the word that takes its end. None: there is no room for more."""
        with self.lock:
            used = HEADER.word("marks_used")
            number = self.ints[used]
            if number == MARKS.entries or not self._reserve(NAMES.offset, MARKS.end):
                self.ints[HEADER.word("marks_left_out")] += 1
                return None
            mark = MARKS.start(number) // WORD
            known = self._number(name, self._names, NAMES, "names_used")
            self.ints[mark + MARKS.word("name")] = known
            self.floats[mark + MARKS.word("start")] = time.monotonic()
            self.ints[used] = number + 1
            return mark + MARKS.word("end")

    def end(self, word: int) -> None:
        self.floats[word] = time.monotonic()

    def count(self, name: str, amount: float) -> None:
        """Add to a counter of the program's own; past 31 names they share one."""
        with self.lock:
            number = self._number(name, self._counters, COUNTERS, "counters_used")
            self.floats[COUNTERS.start(number) // WORD + COUNTERS.word("total")] += amount

    def _number(self, name: str, numbers: "dict[str, int]", table: Table, used: str) -> int:
        """Of a name in a table; the last entry is for all that find none."""
        if name not in numbers and len(numbers) >= table.entries - 1:
            name = "others"
        number = numbers.get(name)
        if number is None:
            number = numbers[name] = self.ints[HEADER.word(used)]
            text = name.encode("utf-8", "replace")[: COUNTERS.sizes["name"]]
            start = table.start(number)
            self.map[start : start + len(text)] = text
            self.ints[HEADER.word(used)] = number + 1
        return number

    def _reserve(self, start: int, end: int) -> bool:
        """Of the file, before it is touched. By its path: the program may have closed our files."""
        if start not in self._reserved:
            try:
                # No other file is made longer, should one have taken this one's name.
                file = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if _identity(file) != self._file:
                        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
                    os.posix_fallocate(file, start, end - start)
                finally:
                    os.close(file)
            except OSError as error:
                self.stop(f"no room for the record: {error.strerror}")
                return False
            self._reserved.add(start)
        return True


def _hold_closed_streams() -> "list[int]":
    """Open those of 0 to 2 that are closed: an mmap keeps a descriptor, which would be a stream."""
    held = []  # type: list[int]
    while not held or held[-1] <= 2:
        held.append(os.open(os.devnull, os.O_RDONLY))
    return held


def start(folder: str) -> bool:
    """Begin this process's record; False: there will be no counting in it."""
    global current
    state = {
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "cpu_count": os.cpu_count(),
        "start_method": "spawn" if b"multiprocessing.spawn" in _command_line() else None,
    }  # type: dict[str, object]
    record = Record(folder, state)
    if not hasattr(os, "register_at_fork"):
        record.stop("Python before 3.7 does not report its forks")
        return False
    current = record
    os.register_at_fork(after_in_child=_begin_again)
    atexit.register(refresh)
    return True


def refresh() -> None:
    """Bring the state up to date; never raises."""
    record = current
    if record is None:
        return
    try:
        import blobdiag_state

        blobdiag_state.observe(record.state)
        record.publish()
    except Exception as error:
        record.stop(f"state not known: {error!r}")


def _begin_again() -> None:
    """In a forked child: a record of its own."""
    global current
    parent, current = current, None
    if parent is None:
        return
    try:
        served = b"multiprocessing.forkserver" in _command_line()
        state = dict(parent.state, start_method="forkserver" if served else "fork")
        state.update(gpu_memory_mib=None, unseen=[], debug_switches=[])
        current = Record(parent.folder, state)
        refresh()
    except Exception:
        # The parent's record is not ours to write in.
        current = None


def _identity(file: int) -> "tuple[int, int]":
    """What names an open file for good."""
    about = os.fstat(file)
    return about.st_dev, about.st_ino


def pid_namespace() -> str:
    """Which space of PIDs this process counts in: namespaces(7)."""
    return os.readlink("/proc/self/ns/pid")


def _start_ticks() -> int:
    """Of this process: clock ticks since boot, field 22 of /proc/self/stat."""
    with open("/proc/self/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def _arguments() -> "list[str]":
    """The command line's beginning; the text of the state has little room."""
    parts = _command_line()[:300].rstrip(b"\0").split(b"\0")
    return [part.decode("utf-8", "replace").encode("ascii", "replace").decode() for part in parts]


def _command_line() -> bytes:
    with open("/proc/self/cmdline", "rb") as file:
        return file.read()
