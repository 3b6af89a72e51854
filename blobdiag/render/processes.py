"""The processes of a watched program in words, the same in every form: a row a kind of call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blobdiag.model.figures import figure
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.render.words import UNKNOWN, count

HEADS = ("pid", "role", "module", "device", "calls", "mean batch", "threads", "CPU s")
NUMBERS = ("pid", "calls", "mean batch", "threads", "CPU s")

MOST_SHOWN = 24
MOST_MODULES = 4
"""Of a process, those that were called most; the report holds all."""


class ProcessRow(NamedTuple):
    """Cells in the order of HEADS; those of the process are empty in all but its first row."""

    pid: str
    role: str
    module: str
    device: str
    calls: str
    mean_batch: str
    threads: str
    cpu_seconds: str


def facts(program: Program) -> list[tuple[str, str]]:
    """(name, words) of the program as a whole."""
    if program.signal is not None:
        ended = f"by signal {program.signal}"
    elif program.exit_code is not None:
        ended = f"with exit code {program.exit_code}"
    else:
        ended = f"{UNKNOWN} (it was still running)"
    by = f", by {program.expected_by}" if program.expected_by else ""
    expected = f"{program.expected_device}{by}" if program.expected_device else ""
    return [
        ("command", program.command),
        ("ended", ended),
        (
            "expected device",
            expected or f"{UNKNOWN} (neither the command nor --expect-device names one)",
        ),
        ("phases", f"from {program.phases_from}" if program.phases_from else "none found"),
    ]


def rows(program: Program) -> list[ProcessRow]:
    """Those that called networks first, then by CPU time; at most MOST_SHOWN processes."""
    shown = _by_weight(program)[:MOST_SHOWN]
    return [row for process in shown for row in _rows(process, program)]


def closing(program: Program) -> str | None:
    """How many processes have no row."""
    more = len(program.processes) - MOST_SHOWN
    left_out = [f"{more} less busy processes are in the report only"] if more > 0 else []
    if program.processes_left_out:
        left_out.append(f"{program.processes_left_out:,} short-lived ones were not recorded")
    return "; ".join(left_out) or None


def role(process: ProcessRecord, program: Program) -> str:
    """The role of a process in the program."""
    if process is program.processes[0]:
        return "command"
    if "multiprocessing.resource_tracker" in process.command:
        return "tracker"
    if "multiprocessing.forkserver" in process.command:
        return "fork server"
    if "--multiprocessing-fork" in process.command:
        return "spawned"
    parent = next((p for p in program.processes if p.pid == process.parent_pid), None)
    # A name alone, as with --record-arguments none, is that of many programs.
    same = parent is not None and parent.command == process.command and " " in process.command
    return "forked" if same else "child"


def _by_weight(program: Program) -> list[ProcessRecord]:
    return sorted(
        program.processes, key=lambda p: (bool(p.modules), p.cpu_seconds or 0.0), reverse=True
    )


def _rows(process: ProcessRecord, program: Program) -> Iterator[ProcessRow]:
    about = (str(process.pid), role(process, program))
    cpu = UNKNOWN if process.cpu_seconds is None else figure(process.cpu_seconds)
    called = sorted(process.modules, key=lambda module: module.calls, reverse=True)
    if not called:
        threads = UNKNOWN if process.threads is None else str(process.threads)
        yield ProcessRow(*about, _silence(process), "", "", "", threads, cpu)
    for number, module in enumerate(called[:MOST_MODULES]):
        own = (*about, cpu) if number == 0 else ("", "", "")
        yield ProcessRow(*own[:2], *_calls(module), own[2])
    if len(called) > MOST_MODULES:
        calls = sum(module.calls for module in called[MOST_MODULES:])
        more = f"{len(called) - MOST_MODULES} more"
        yield ProcessRow("", "", more, "", count(calls), "", "", "")


def _calls(module: ModuleCalls) -> tuple[str, str, str, str, str]:
    """Cells from the module to the threads."""
    device = module.parameter_device
    if module.input_device not in (device, "none"):
        device += f" (input {module.input_device})"
    intra = module.intra_op_threads
    threads = str(module.threads) if intra in (None, 1) else f"{module.threads}×{intra}"
    batch = UNKNOWN if module.mean_batch is None else figure(module.mean_batch)
    return module.module.rpartition(".")[2], device, count(module.calls), batch, threads


def _silence(process: ProcessRecord) -> str:
    """In place of a module: why none is known, or that none was called."""
    if process.reason:
        return f"{UNKNOWN} ({process.reason})"
    return "none called" if process.instrumented else "no torch"
