"""A device that was asked for, or that a tensor lies on: parsed, compared and printed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DEVICE = re.compile(r"(auto|cpu|cuda|meta|mps|xpu)(?::(0|[1-9][0-9]*))?")
_WITHOUT_INDEX = ("auto", "cpu", "meta")


@dataclass(frozen=True)
class Device:
    """`cpu`, `cuda`, `cuda:1`, …; without an index any device of the kind."""

    kind: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> Device:
        """Raises ValueError, in one line, for what names no device."""
        match = _DEVICE.fullmatch(text)
        if match is None or (match[2] is not None and match[1] in _WITHOUT_INDEX):
            raise ValueError(f"{text!r} is no device: auto, cpu, cuda, cuda:N, mps or xpu")
        return cls(match[1], None if match[2] is None else int(match[2]))

    @classmethod
    def of(cls, text: str | None) -> Device:
        """The same for what a report says: any text names a device, if of an unknown kind."""
        kind, _, index = (text or "").partition(":")
        return cls(kind, int(index) if index.isascii() and index.isdecimal() else None)

    @property
    def on_cuda(self) -> bool:
        return self.kind == "cuda"

    @property
    def on_cpu(self) -> bool:
        return self.kind == "cpu"

    def accepts(self, actual: Device) -> bool:
        """Whether a tensor on `actual` is where this asks for: `cuda` accepts any `cuda:N`."""
        return self.kind == actual.kind and self.index in (None, actual.index)

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"
