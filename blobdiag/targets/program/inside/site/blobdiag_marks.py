"""Marks in a program's own code, for `blobdiag run` to see; without it they do nothing.

    with phase("self-play"):
        ...
        progress(games=1)

Under `blobdiag run` this file is on the path of the program. Where torch has initialised CUDA, a
phase is an NVTX range of the same name as well.
"""

import sys
from contextlib import ContextDecorator


class phase(ContextDecorator):
    """A named stretch of the program, nested or not, in any thread; also a decorator."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> "phase":
        self._record = _record()
        if self._record is not None:
            self._end = self._range = None
            try:
                self._end = self._record.begin(str(self.name))
                self._range = _nvtx_range(str(self.name))
            except Exception as error:
                self._record.stop(f"a phase was not marked: {error!r}")
        return self

    def __exit__(self, *raised: object) -> None:
        if self._record is None:
            return
        try:
            if self._range is not None:
                self._range.range_pop()
            # One that was forked inside it has a record of its own: the phase is its parent's.
            if self._end is not None and self._record is _record():
                self._record.end(self._end)
        except Exception as error:
            self._record.stop(f"a phase was not ended: {error!r}")

    def _recreate_cm(self) -> "phase":
        # A decorated function may be running several times at once.
        return phase(self.name)


def progress(**amounts: float) -> None:
    """Add to counters of the program's own: `progress(games=1, examples=60)`."""
    record = _record()
    if record is None:
        return
    try:
        for name, amount in amounts.items():
            record.count(name, float(amount))
    except Exception as error:
        record.stop(f"progress was not counted: {error!r}")


def _record():  # type: ignore[no-untyped-def]
    """This process's record; None: it is not watched."""
    module = sys.modules.get("blobdiag_record")
    return None if module is None else module.current


def _nvtx_range(name: str):  # type: ignore[no-untyped-def]
    """A range that has begun, to be popped from what is returned; None: there is no CUDA."""
    cuda = sys.modules.get("torch.cuda")
    if cuda is None or not cuda.is_initialized():
        return None
    cuda.nvtx.range_push(name)
    return cuda.nvtx
