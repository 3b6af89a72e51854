"""Which device a program's networks should be on, by its own command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from blobdiag.model.device import Device
from blobdiag.model.errors import UserError

_KINDS = ("cuda", "cpu", "mps", "xpu")
_OPTION = "--device"
# --device=cuda, device=cuda, +trainer.device=cuda: as argparse and Hydra take it.
_ASSIGNMENT = re.compile(r"(?:--|\+{0,2}(?:[\w-]+\.)*)device=(.+)")


def device_kind(text: str) -> str | None:
    """'cuda' of 'cuda' and 'cuda:1'; None: that is no device."""
    device = Device.of(text)
    return device.kind if device.kind in _KINDS and str(device) == text else None


def expected_device(asked: str | None, command: Sequence[str]) -> tuple[str | None, str | None]:
    """(kind of device, the words that ask for it), both None where nothing does.

    `asked` is --expect-device; without it the last `--device cuda`, `--device=cuda` or
    `device=cuda` of the command counts. Raises UserError for an `asked` that is no device.
    """
    if asked is not None:
        if asked not in _KINDS:
            # Which of several GPUs is each process's own affair.
            raise UserError(f"--expect-device must be one of {', '.join(_KINDS)}, not {asked!r}")
        return asked, f"--expect-device {asked}"
    found: tuple[str | None, str | None] = None, None
    for argument, following in zip(command, [*command[1:], ""], strict=True):
        assigned = _ASSIGNMENT.fullmatch(argument)
        if argument == _OPTION and (kind := device_kind(following)):
            found = kind, f"{_OPTION} {following}"
        elif assigned and (kind := device_kind(assigned[1])):
            found = kind, argument
    return found
