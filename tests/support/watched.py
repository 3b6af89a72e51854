"""Scripted reports of watched programs: processes, their calls, what was sampled of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import reports
from blobdiag.model import names
from blobdiag.model.judgement import IdleGap
from blobdiag.model.machine import Gpu, Machine
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.recorded import Phase, Series
from blobdiag.model.report import Report
from blobdiag.targets.program.records import ProcessCounts

UUID = reports.UUID
ROOT = 4_000
SECONDS = 30.0
CARD_MIB = 24_000.0
ENTER = 2.0
"""Seconds after which a process's CPU is at its level: before that it imports torch."""


def calls(
    device: str = "cpu", number: int = 20_000, rows: float | None = 64.0, **changes: Any
) -> Any:
    """Calls of one network, in evaluation mode without gradients, half a millisecond each."""
    fields: dict[str, Any] = {
        "module": "game.net.PolicyValueNet",
        "parameter_device": device,
        "input_device": device,
        "dtype": "float32",
        "train_mode": False,
        "grad_enabled": False,
        "calls": number,
        "rows": None if rows is None else round(rows * number),
        "timed_calls": number // 10,
        "host_seconds": 5e-4 * (number // 10),
        "intra_op_threads": 1,
    }
    return ModuleCalls(**fields | changes)


def training(device: str = "cpu", number: int = 500, rows: float = 512.0, **changes: Any) -> Any:
    """Calls of the same network by a trainer, 20 ms each."""
    fields: dict[str, Any] = {
        "train_mode": True,
        "grad_enabled": True,
        "timed_calls": number,
        "host_seconds": 0.02 * number,
    }
    return calls(device, number, rows, **fields | changes)


def process(number: int = 0, *modules: ModuleCalls, **changes: Any) -> ProcessRecord:
    """The command's own process (number 0), or its child; counted from inside to its end."""
    fields: dict[str, Any] = {
        "pid": ROOT + number,
        "parent_pid": ROOT if number else 1,
        "command": "python selfplay.py" if not number else "python -c 'from multiprocessing …'",
        "started_s": 0.0 if not number else 3.0,
        "ended_s": SECONDS if not number else SECONDS - 1,
        "cpu_seconds": 25.0,
        "rss_mib": 400.0,
        "libraries": ["torch"],
        "driver_opened": False,
        "instrumented": True,
        "python": "3.11.9",
        "torch": "2.13.0",
        "start_method": "spawn",
        "cuda_initialised": False,
        "cpu_count": 8,
        "modules": list(modules),
    }
    return ProcessRecord(**fields | changes)


def on_gpu(number: int, *modules: ModuleCalls, **changes: Any) -> ProcessRecord:
    """A process that holds a CUDA context."""
    fields: dict[str, Any] = {
        "cuda_initialised": True,
        "driver_opened": True,
        "gpu_memory_mib": 600.0,
        "libraries": ["cuda", "torch"],
    }
    return process(number, *modules, **fields | changes)


def watched(
    processes: Sequence[ProcessRecord],
    *,
    expect: str | None = None,
    because: str | None = None,
    gpu: bool = False,
    cores: int = 8,
    quota: float | None = None,
    utilisation: float = 85.0,
    sm_activity: float | None = None,
    listed: Mapping[int, float] | None = None,
    cpu: Mapping[int, float] | None = None,
    host: float = 60.0,
    switches: Mapping[int, float] | None = None,
    phases: Mapping[str, tuple[float, float]] | None = None,
    gaps: Sequence[tuple[float, float]] = (),
    **changes: Any,
) -> Report:
    """A report of these processes.

    `listed` is what the driver lists of a process (MiB, by its number), `cpu` its level in % of a
    core (100 where it is not given), `switches` how often a second it is taken off a core.
    """
    processes = [_used(p, (cpu or {}).get(p.pid - ROOT)) for p in processes]
    fields: dict[str, Any] = {
        "command": "run",
        "device": expect or "any device",
        "seconds": SECONDS,
        "machine": Machine(
            platform="Linux 6.8",
            cpu="Some CPU",
            cores_usable=cores,
            cores_total=max(cores, 8),
            cgroup_cpu_quota=quota,
            memory_gib=32.0,
        ),
        "gpus": [Gpu(uuid=UUID, name="RTX 4090", nvml_index=0, memory_mib=CARD_MIB)] * gpu,
        "gpu_reason": None if gpu else "the NVIDIA driver is not installed",
        "phases": [Phase(name=n, start_s=s, end_s=e) for n, (s, e) in (phases or {}).items()],
        "series": [
            *_host(processes, cpu or {}, host, switches or {}),
            *(_gpu(utilisation, sm_activity, gaps, listed or {}) if gpu else []),
        ],
        "idle_gaps": [IdleGap(device=UUID, start_s=s, end_s=e, phase=None) for s, e in gaps],
        "seconds_shortest_visible_gap": 0.4 if gpu else None,
        "program": Program(
            command=processes[0].command,
            exit_code=0,
            expected_device=expect,
            expected_by=because or (f"--expect-device {expect}" if expect else None),
            instrumented=True,
            phases_from="markers" if phases else None,
            processes=list(processes),
        ),
    }
    return reports.minimal(**fields | changes)


def _used(process: ProcessRecord, percent: float | None) -> ProcessRecord:
    """The process with the CPU seconds that go with its level, where one is given."""
    if percent is None:
        return process
    seconds = (process.ended_s or SECONDS) - process.started_s
    return process.model_copy(update={"cpu_seconds": ENTER + percent / 100 * (seconds - ENTER)})


def _host(
    processes: Sequence[ProcessRecord],
    cpu: Mapping[int, float],
    host: float,
    switches: Mapping[int, float],
) -> list[Series]:
    times = np.arange(0.4, SECONDS, 0.4)
    made = [_series(names.HOST_CPU, "%", times, np.full(len(times), host))]
    for p in processes:
        alive = times[(times > p.started_s) & (times < (p.ended_s or SECONDS))]
        level = np.where(alive < p.started_s + ENTER, 100.0, cpu.get(p.pid - ROOT, 100.0))
        made.append(_series(names.process(p.pid, "cpu"), "%", alive, level))
        counted = switches.get(p.pid - ROOT, 50.0) * alive
        made.append(
            _series(names.process(p.pid, "involuntary_switches"), "switches", alive, counted)
        )
    return made


def _gpu(
    utilisation: float,
    sm_activity: float | None,
    gaps: Sequence[tuple[float, float]],
    listed: Mapping[int, float],
) -> list[Series]:
    times = np.arange(0.2, SECONDS, 0.2)
    idle = np.any([(times >= s) & (times < e) for s, e in gaps], axis=0) if gaps else times < 0
    made = [_series(names.utilization(UUID), "%", times, np.where(idle, 0.0, utilisation))]
    if sm_activity is not None:
        made.append(
            _series(names.gpu(UUID, "sm_activity"), "%", times, np.full(len(times), sm_activity))
        )
    for number, mib in listed.items():
        name = names.gpu_process(UUID, ROOT + number, "memory")
        made.append(_series(name, "MiB", times[::10], np.full(len(times[::10]), mib)))
    return made


def _series(name: str, unit: str, times: np.ndarray, values: np.ndarray) -> Series:
    return Series(name=name, unit=unit, times_s=times.tolist(), values=values.tolist())


def account(pid: int, kinds: list[ModuleCalls]) -> ProcessCounts:
    """What a process says of itself; `kinds` are its calls."""
    fields = dict.fromkeys(ProcessCounts._fields)
    lists = {"debug_switches": [], "unseen": [], "progress": {"games": 1.0}, "modules": kinds}
    arguments = ["python", "x" * 290]
    numbers = {"pid": pid, "start_ticks": 1, "parent_pid": 1, "modules_left_out": 0}
    numbers["own_seconds"] = 0
    return ProcessCounts(**fields | lists | numbers | {"arguments": arguments})  # type: ignore[arg-type]
