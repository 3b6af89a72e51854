"""Foreign processes on a GPU and neighbours on the CPU, from a session's samples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from blobdiag.diagnosis import window_checks as judging
from blobdiag.model.report import Gpu
from blobdiag.sampling.trace import Span, Trace

GPUS = [Gpu(uuid="GPU-aaaa", name="H"), Gpu(uuid="GPU-bbbb", name="H")]


def foreign(listed: dict[str, dict[int, float]], memory: float | None) -> list[str] | None:
    """With one worker of PID 31 on the first GPU, that says it holds `memory` MiB."""
    trace = Trace(start=0)
    for uuid, processes in listed.items():
        for pid, mib in processes.items():
            trace.add(f"gpu/{uuid}/process/{pid}/memory", "MiB", 5.0, mib)
    worker = SimpleNamespace(pid=31, device_uuid="GPU-AAAA", gpu_memory_mib=memory)
    arm: Any = SimpleNamespace(workers=lambda: [worker], windows=[(0.0, 10.0)], other_pids=set())
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


@pytest.mark.parametrize(("ours", "kept"), [(97.0, False), (195.0, True)])
def test_training_beside_a_busy_neighbour(
    ours: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two full cores, of which this process has one, or both."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    trace = Trace(start=0, spans=[Span("training", 10.0, 20.0)])
    for second in range(30):
        trace.add("host/cpu", "%", float(second), 100.0)
        trace.add("process/1/cpu", "%", float(second), ours if second >= 10 else 200.0)
    session: Any = SimpleNamespace(trace=trace, pids={1})
    [rule] = judging.training_rules(session)
    assert rule.rule == "no busy neighbour in training"
    assert rule.ok is kept
    trace.spans[0].name = "self-play"
    assert judging.training_rules(session) == []
