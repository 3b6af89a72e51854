"""Whether the device that was asked for reached every worker."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.checks.common import counted
from blobdiag.model.base import Role, Status
from blobdiag.model.device import Device
from blobdiag.model.judgement import Check
from blobdiag.model.selfplay import WorkerRecord

DEVICE_CHECK = "workers on the device"
SOURCE = "docs/expectations.md#workers-on-the-device"


def device_reaches_workers(
    workers: Sequence[WorkerRecord], asked: str, on_meta: bool = False
) -> Check:
    """Check that every parameter and the first output of every worker are on device `asked`."""
    expected = Device.of(asked)
    wrong = [w for w in workers if not all(expected.accepts(Device.of(d)) for d in _devices(w))]
    silent = [w for w in workers if not w.parameter_devices]
    how = " (proven on torch's meta device)" if on_meta else ""
    if not workers:
        status, seen = Status.INCONCLUSIVE, "no worker reported its device"
    elif wrong:
        status, seen = Status.FAIL, f"{len(wrong)} of {len(workers)} workers are not on {asked}"
    elif silent:
        status, seen = Status.INCONCLUSIVE, f"{len(silent)} workers reported no parameter's device"
    else:
        status, seen = Status.PASS, f"all of {counted(len(workers), 'worker')} on {asked}"
        seen += _uncounted(workers)
    return Check(
        name=DEVICE_CHECK,
        role=Role.DECIDING,
        status=status,
        expectation=f"all parameters and outputs on {asked}",
        observation=seen + how,
        evidence=[_where(worker) for worker in wrong or silent],
        source=SOURCE,
    )


def _uncounted(workers: Sequence[WorkerRecord]) -> str:
    """How many workers are known only from the engine's report, without a counted forward call."""
    unseen = sum(worker.batches is None for worker in workers)
    if not unseen:
        return ""
    return f" ({unseen} only as reported by the engine: no forward call was counted in them)"


def _devices(worker: WorkerRecord) -> list[str]:
    """The devices of the worker's parameters and of its output."""
    return [*worker.parameter_devices, *filter(None, [worker.output_device])]


def _where(worker: WorkerRecord) -> str:
    parameters = ", ".join(worker.parameter_devices) or "not reported"
    return (
        f"worker {worker.worker} (pid {worker.pid}): asked {worker.device_asked}, "
        f"parameters on {parameters}, output on {worker.output_device or 'not reported'}"
    )
