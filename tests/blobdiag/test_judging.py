"""Which processes on a GPU count as foreign, from a session's samples and its workers' words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from blobdiag.commands import judging
from blobdiag.reporting.model import Gpu
from blobdiag.sampling.trace import Trace

GPUS = [Gpu(uuid="GPU-aaaa", name="H"), Gpu(uuid="GPU-bbbb", name="H")]


def foreign(listed: dict[str, dict[int, float]], memory: float | None) -> list[str] | None:
    """With one worker of PID 31 on the first GPU, that says it holds `memory` MiB."""
    trace = Trace(start=0)
    for uuid, processes in listed.items():
        for pid, mib in processes.items():
            trace.add(f"gpu/{uuid}/process/{pid}/memory", "MiB", 5.0, mib)
    worker = SimpleNamespace(pid=31, device_uuid="GPU-AAAA", gpu_memory_mib=memory)
    arm: Any = SimpleNamespace(workers=lambda: [worker], windows=[(0.0, 10.0)])
    recorder = SimpleNamespace(gpus=GPUS)
    session: Any = SimpleNamespace(
        pid=1, trace=trace, recorder=recorder, gpu_uuids=["GPU-aaaa"], arms=[arm]
    )
    return judging._foreign(session, arm)


@pytest.mark.parametrize(
    ("listed", "memory", "seen"),
    [
        ({31: 900.0}, None, []),
        ({31: 900.0, 77: 5.0}, None, ["pid 77"]),
        ({4031: 900.0}, None, None),
        ({4031: 900.0}, 500.0, []),
        ({4031: 900.0, 4077: 9000.0}, 500.0, ["pid 4077 (ours matched by memory)"]),
        ({}, 500.0, None),
    ],
)
def test_foreign(listed: dict[int, float], memory: float | None, seen: list[str] | None) -> None:
    assert foreign({"GPU-aaaa": listed, "GPU-bbbb": {99: 1.0}}, memory) == seen
