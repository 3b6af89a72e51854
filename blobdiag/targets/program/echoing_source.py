"""What the sampler of a watched program reads; apart from the rest, so that it starts fast."""

from __future__ import annotations

from blobdiag.sampling.sampler import MachineSource
from blobdiag.targets.program.signals import echo_signals


class EchoingSource(MachineSource):
    """This machine, sampled by the process that echoes blobdiag's signals (see signals.py).

    The exit of a process of the program is no event: it is in the process's own record.
    """

    def __init__(self) -> None:
        echo_signals()
        super().__init__()

    def take_events(self) -> list[str]:
        return [event for event in super().take_events() if not event.startswith("process ")]
