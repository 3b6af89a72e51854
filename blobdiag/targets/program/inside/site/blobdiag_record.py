"""The record of one process: a memory-mapped file that others read while it is written.

Counters are stored in place, some tens of nanoseconds each, and survive SIGKILL. The space is
reserved before it is touched: on a full disk a mapped store would end the program (SIGBUS).

    0       header: 8 words of 64 bits (the magic, written last, and the words named below)
    64      two texts of the process's state, of which the word STATE names the current one
    4096    counters of `progress`: a name in 56 bytes, then a double
    8192    rows of calls: what they are calls of in 256 bytes, then the words named below
    ...     names of phases, 64 bytes each; then the phases: name's number, start, end

A row belongs to one thread at a time, so that counts need no lock; one that ends leaves its rows
to the next that calls the same. The regions of rows and of phases are reserved at their first use.
"""

import atexit
import mmap
import os
import sys
import time
from _thread import RLock

MAGIC = b"blobdia1"
WORD = 8
STATE, ROWS_USED, MARKS_USED, CALLS_LEFT_OUT, MARKS_LEFT_OUT, COUNTERS_USED, NAMES_USED = range(
    1, 8
)
STATE_OFFSET, STATE_BYTES = 64, 2016
COUNTERS_OFFSET, COUNTERS, COUNTER_BYTES = 4096, 32, 64
NAME_BYTES = 56

ROWS_OFFSET, ROWS, ROW_TEXT_BYTES = 8192, 128, 256
# Words of a row; those of seconds are doubles. Of the buckets, the first counts calls whose inputs
# have no rows, the second those of 0 rows, and 2 + k those of up to 2 ** k.
(
    ROW_EXCEPTIONS,
    ROW_TIMED,
    ROW_HOST_SECONDS,
    ROW_OWN_SECONDS,
    ROW_INTRA_OP,
    ROW_INPUT_ROWS,
    ROW_BUCKETS,
) = range(7)
BUCKETS = 34
ROW_BYTES = ROW_TEXT_BYTES + WORD * (ROW_BUCKETS + BUCKETS)

NAMES_OFFSET, NAMES = ROWS_OFFSET + ROWS * ROW_BYTES, 64
MARKS_OFFSET, MARKS, MARK_BYTES = NAMES_OFFSET + NAMES * 64, 4096, 3 * WORD
FILE_BYTES = MARKS_OFFSET + MARKS * MARK_BYTES

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
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(file, 0, ROWS_OFFSET)
            os.ftruncate(file, FILE_BYTES)
            self.map = mmap.mmap(file, FILE_BYTES)
        except BaseException:
            os.unlink(self.path)
            raise
        finally:
            os.close(file)
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
            if len(text) <= STATE_BYTES:
                other = 1 - self.ints[STATE]
                start = STATE_OFFSET + other * STATE_BYTES
                self.map[start : start + STATE_BYTES] = text.ljust(STATE_BYTES, b"\0")
                self.ints[STATE] = other
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
            number = self.ints[ROWS_USED]
            text = ascii(kind).encode("ascii")
            if (
                number == ROWS
                or len(text) > ROW_TEXT_BYTES
                or not self._reserve(ROWS_OFFSET, NAMES_OFFSET)
            ):
                return None
            start = ROWS_OFFSET + number * ROW_BYTES
            self.map[start : start + len(text)] = text
            self.ints[ROWS_USED] = number + 1
            return (start + ROW_TEXT_BYTES) // WORD

    def leave_row(self, kind: "tuple[object, ...]", row: int) -> None:
        """To the next thread that calls the same; no lock, since the collector may call this."""
        self.free.setdefault(kind, []).append(row)

    def leave_out(self, calls: int) -> None:
        """Count calls that have no row."""
        with self.lock:
            self.ints[CALLS_LEFT_OUT] += calls

    def begin(self, name: str) -> "int | None":
        """A phase begins; the word that takes its end. None: there is no room for more."""
        with self.lock:
            number = self.ints[MARKS_USED]
            if number == MARKS or not self._reserve(NAMES_OFFSET, FILE_BYTES):
                self.ints[MARKS_LEFT_OUT] += 1
                return None
            word = (MARKS_OFFSET + number * MARK_BYTES) // WORD
            self.ints[word] = self._number(name, self._names, NAMES_USED, NAMES_OFFSET, NAMES)
            self.floats[word + 1] = time.monotonic()
            self.ints[MARKS_USED] = number + 1
            return word + 2

    def end(self, word: int) -> None:
        self.floats[word] = time.monotonic()

    def count(self, name: str, amount: float) -> None:
        """Add to a counter of the program's own; past 31 names they share one."""
        with self.lock:
            number = self._number(name, self._counters, COUNTERS_USED, COUNTERS_OFFSET, COUNTERS)
            self.floats[(COUNTERS_OFFSET + number * 64 + NAME_BYTES) // WORD] += amount

    def _number(
        self, name: str, numbers: "dict[str, int]", used: int, offset: int, most: int
    ) -> int:
        """Of a name in a table; the last place is for all that find none."""
        if name not in numbers and len(numbers) >= most - 1:
            name = "others"
        number = numbers.get(name)
        if number is None:
            number = numbers[name] = self.ints[used]
            text = name.encode("utf-8", "replace")[:NAME_BYTES]
            start = offset + number * 64
            self.map[start : start + len(text)] = text
            self.ints[used] = number + 1
        return number

    def _reserve(self, start: int, end: int) -> bool:
        """Of the file, before it is touched. By its path: the program may have closed our files."""
        if start not in self._reserved:
            try:
                file = os.open(self.path, os.O_RDWR)
                try:
                    os.posix_fallocate(file, start, end - start)
                finally:
                    os.close(file)
            except OSError as error:
                self.stop(f"no room for the record: {error.strerror}")
                return False
            self._reserved.add(start)
        return True


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
        record.stop("Python before 3.7 does not tell of its forks")
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
