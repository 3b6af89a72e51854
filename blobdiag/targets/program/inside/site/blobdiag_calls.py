"""Counts outermost calls of nn.Module, by one replacement of `Module.__call__`.

A call inside another is not counted, so a network counts once however deep it is. Each thread
counts into rows of its own: no lock, and nothing lost. Neither modules nor tensors are kept alive.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any

import blobdiag_record
from blobdiag_record import BUCKETS, ROWS, Record

# Where a row's counters are, in words from its start.
EXCEPTIONS = ROWS.word("exceptions")
TIMED_CALLS = ROWS.word("timed_calls")
HOST_SECONDS = ROWS.word("host_seconds")
OWN_SECONDS = ROWS.word("own_seconds")
INTRA_OP_THREADS = ROWS.word("intra_op_threads")
INPUT_ROWS = ROWS.word("input_rows")
FIRST_BUCKET = ROWS.word("buckets")

TIMED_EVERY = 16
# The first call of a kind pays for warming up.
FIRST_TIMED = 2
REFRESH_SECONDS = 1.0
NAME_CHARACTERS = 120

# Modules that only wrap another, and where they keep it.
WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
}


class _Row:
    """A row of the record that one thread counts in."""

    __slots__ = "base", "calls", "ints", "kind", "record", "until_timed"

    def __init__(self, record: Record, kind: "tuple[object, ...]", base: int) -> None:
        self.record = record
        self.ints = record.ints
        self.kind = kind
        self.base = base
        self.calls = 0
        self.until_timed = FIRST_TIMED

    def count(self, tensor: Any, calls: int) -> None:
        """`tensor`: what a call was given, None: none; `calls`: how many the call stands for."""
        if self.until_timed:
            self.until_timed -= 1
        self.calls = calls
        ints, base, bucket = self.ints, self.base, 0
        dimensions = 0 if tensor is None else tensor.dim()
        # One dimension of floats is one row of them.
        one = dimensions == 1 and tensor.is_floating_point()
        rows = 1 if one else tensor.shape[0] if dimensions else None
        # It is another type of number while torch traces with shapes that stay open.
        if type(rows) is int:
            ints[base + INPUT_ROWS] += rows * calls
            bucket = min(2 + (rows - 1).bit_length(), BUCKETS - 1) if rows else 1
        ints[base + FIRST_BUCKET + bucket] += calls

    def note(self, own: float, seconds: float, threads: int) -> None:
        """`own` is what counting this call took, in seconds, `seconds` the call itself."""
        if self.record is blobdiag_record.current:
            self.ints[self.base + TIMED_CALLS] += 1
            self.record.floats[self.base + OWN_SECONDS] += own
            self.record.floats[self.base + HOST_SECONDS] += seconds
            self.ints[self.base + INTRA_OP_THREADS] = threads

    def note_exception(self) -> None:
        # After a fork in the midst of a call, the row is the parent's.
        if self.record is blobdiag_record.current:
            self.ints[self.base + EXCEPTIONS] += self.calls


class _Known:
    """A module that was met: what its rows are, and where its first parameter is."""

    __slots__ = "key", "module", "name", "owner", "rows"

    def __init__(self, module: Any, forget: "Callable[[Any], None]") -> None:
        self.module = weakref.ref(module, forget)
        self.name = _name_of(module)
        self.rows = {}  # type: dict[tuple[object, ...], _Row | None]
        self.owner = None  # type: weakref.ref[Any] | None
        self.key = ""
        self.find_parameter(module)

    def find_parameter(self, module: Any) -> Any:
        self.owner = None
        for owner in module.modules():
            for key, parameter in owner._parameters.items():
                if parameter is not None:
                    self.owner, self.key = weakref.ref(owner), key
                    return parameter
        return None

    def parameter(self, module: Any) -> Any:
        """Looked up at each call: `.to(device)` may have moved it."""
        owner = self.owner() if self.owner is not None else None
        if owner is not None:
            try:
                parameter = owner._parameters[self.key]
                if parameter is not None:
                    return parameter
            except KeyError:
                pass
        return self.find_parameter(module)


class _Thread:
    """What one thread counts with."""

    def __init__(self, every: int) -> None:
        self.inside = False
        self.every = every
        self.since = 0
        self.gap = 1
        self.dice = threading.get_ident() & 0x7FFFFFFF
        self.forget()

    def forget(self) -> None:
        """All that was known: a forked child has another record."""
        self.known = {}  # type: dict[int, _Known]
        self.rows = {}  # type: dict[tuple[object, ...], _Row | None]

    def __del__(self) -> None:
        for row in self.rows.values():
            if row is not None:
                row.record.leave_row(row.kind, row.base)

    def next_gap(self) -> int:
        """1 to 2 N - 1, so that a rhythm of the program's own is not taken for the whole."""
        self.dice = (1103515245 * self.dice + 12345) & 0x7FFFFFFF
        return 1 + (self.dice >> 8) % (2 * self.every - 1)

    def meet(self, module: Any) -> _Known:
        number, known = id(module), self.known

        def forget(ref: Any) -> None:
            known.pop(number, None)

        known[number] = found = _Known(module, forget)
        return found

    def row(self, record: Record, known: _Known, traits: "tuple[Any, ...]") -> "_Row | None":
        """The row of a module's calls with these traits; None: there is no room for it."""
        parameter_device, dtype, input_device, training, grad = traits
        kind = (
            known.name,
            "none" if parameter_device is None else str(parameter_device),
            "none" if input_device is None else str(input_device),
            "none" if dtype is None else str(dtype).replace("torch.", ""),
            bool(training),
            grad,
        )
        if kind not in self.rows:
            base = record.claim_row(kind)
            self.rows[kind] = None if base is None else _Row(record, kind, base)
        known.rows[traits] = self.rows[kind]
        return self.rows[kind]


def install(torch: Any) -> None:
    """Count from now on. Raises where this torch is not made as we know it."""
    Module, Tensor = torch.nn.Module, torch.Tensor
    grad_enabled = torch.is_grad_enabled
    find_tensor = _tensor_finder(Tensor)
    thread_count = torch.get_num_threads
    is_compiling = _dynamo_check(torch)
    # What is read of a tensor while torch traces becomes a part of the trace.
    is_tracing = torch._C._is_tracing
    in_backward = getattr(torch._C, "_current_graph_task_id", lambda: -1)
    original = Module.__call__
    wrapped_already = original is not getattr(Module, "_wrapped_call_impl", None)
    every = max(1, int(os.environ.get("BLOBDIAG_COUNT_EVERY") or 1))
    counting = True
    refreshed = monotonic()

    class Local(threading.local):
        def __init__(self) -> None:
            self.thread = _Thread(every)

    local = Local()

    def look(
        thread: _Thread, module: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> "_Row | None":
        """Count a call that is about to be made; the row it is counted in, None: in none."""
        record = blobdiag_record.current
        if record is None or is_tracing():
            return None
        thread.since += 1
        if thread.since < thread.gap:
            return None
        calls, thread.since = thread.since, 0
        if every > 1:
            thread.gap = thread.next_gap()
        known = thread.known.get(id(module))
        if known is None or known.module() is not module:
            if "_is_replica" in module.__dict__:
                record.add_to("unseen", "replicas of DataParallel")
                return None
            known = thread.meet(module)
        grad = grad_enabled()
        if grad and in_backward() != -1:
            record.add_to("unseen", "recomputation during backward")
            return None
        parameter = known.parameter(module)
        tensor = args[0] if args and isinstance(args[0], Tensor) else find_tensor(args, kwargs)
        traits = (
            None if parameter is None else parameter.device,
            None if parameter is None else parameter.dtype,
            None if tensor is None else tensor.device,
            module.training,
            grad,
        )
        row = known.rows.get(traits) or thread.row(record, known, traits)
        if row is None:
            record.leave_out(calls)
        else:
            row.count(tensor, calls)
        return row

    def note_time(row: _Row, own: float, seconds: float) -> None:
        nonlocal refreshed
        row.until_timed = TIMED_EVERY
        # In this thread, after a forward: elsewhere it may be another number.
        row.note(own, seconds, thread_count())
        if monotonic() - refreshed > REFRESH_SECONDS:
            refreshed = monotonic()
            blobdiag_record.refresh()

    # Dynamo knows this name, and looks through it.
    def _wrapped_call_impl(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal counting
        if is_compiling() or local.thread.inside:
            if wrapped_already:
                return original(self, *args, **kwargs)
            # torch's own two branches: a call less for each module of a network.
            if self._compiled_call_impl is not None:
                return self._compiled_call_impl(*args, **kwargs)
            return self._call_impl(*args, **kwargs)
        thread = local.thread
        row = None
        thread.inside = True
        began = monotonic()
        try:
            if counting:
                try:
                    row = look(thread, self, args, kwargs)
                except Exception as error:
                    counting = False
                    _stop(error)
            if row is None or row.until_timed:
                return original(self, *args, **kwargs)
            looked = monotonic()
            result = original(self, *args, **kwargs)
            note_time(row, looked - began, monotonic() - looked)
            return result
        except BaseException:
            if row is not None:
                row.note_exception()
            raise
        finally:
            thread.inside = False

    _wrapped_call_impl.__qualname__ = original.__qualname__
    Module.__call__ = _wrapped_call_impl
    for name in "torch._dynamo.utils", "torch._dynamo.variables.nn_module":
        module = sys.modules.get(name)  # type: Any
        if getattr(module, "unpatched_nn_module_call", None) is original:
            module.unpatched_nn_module_call = _wrapped_call_impl
    os.register_at_fork(after_in_child=lambda: local.thread.forget())
    # A parent that only holds a CUDA context makes no forwards that would show it.
    if hasattr(torch.cuda, "_lazy_call"):
        torch.cuda._lazy_call(_cuda_begins)
    blobdiag_record.refresh()


def _cuda_begins() -> None:
    record = blobdiag_record.current
    if record is not None:
        # torch itself reports it only when this has returned.
        record.state["cuda_initialised"] = True
        record.publish()


def _stop(error: Exception) -> None:
    record = blobdiag_record.current
    if record is not None:
        record.stop(f"counting stopped: {error!r}")


def _dynamo_check(torch: Any) -> "Callable[[], bool]":
    """Whether dynamo is tracing: it must not see what we do."""
    check = getattr(getattr(torch, "compiler", None), "is_dynamo_compiling", None)
    if check is None and hasattr(torch, "compile"):
        raise RuntimeError("torch 2.0 does not report its compiling")
    return check or (lambda: False)


def _tensor_finder(Tensor: Any) -> "Callable[[tuple[Any, ...], dict[str, Any]], Any]":
    def find(args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        """The first tensor of the arguments, or inside the first that holds one; None: none."""
        values = (*args, *kwargs.values())
        for value in values:
            if isinstance(value, Tensor):
                return value
        for value in values:
            if isinstance(value, (dict, list, tuple)):
                for inner in value.values() if isinstance(value, dict) else value:
                    if isinstance(inner, Tensor):
                        return inner
        return None

    return find


def _name_of(module: Any) -> str:
    """Its class; of a wrapper, the class of what it wraps."""
    kind = type(module)
    inner = getattr(module, WRAPPERS.get(kind.__name__, ""), None)
    if inner is not None and kind.__module__.startswith("torch."):
        return f"{_name_of(inner)} ({kind.__name__})"
    original = getattr(module, "original_name", None)
    if original is not None and kind.__module__.startswith("torch.jit."):
        return f"{original} ({kind.__name__})"
    # multiprocessing's children know the program's own file under a name of their own.
    home = kind.__module__.replace("__mp_main__", "__main__")
    return f"{home}.{kind.__qualname__}"[-NAME_CHARACTERS:]
