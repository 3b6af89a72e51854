"""The record of a process seen from outside, and which device a command line asks for."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from blobdiag.model.errors import UserError
from blobdiag.model.program import ModuleCalls
from blobdiag.sampling import proc
from blobdiag.targets.program.expected_device import expected_device
from blobdiag.targets.program.process_records import (
    MOST_CHARACTERS,
    MOST_PROCESSES,
    process_records,
    shown_command,
)
from blobdiag.targets.program.process_tree import ProgramProcess
from blobdiag.targets.program.records import ProcessCounts

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
INJECTED = Path("/tmp/injected")


def in_tree(*arguments: str, **facts: object) -> ProgramProcess:
    process = ProgramProcess(
        pid=11, start_ticks=5, parent_pid=1, started=100.0, arguments=list(arguments)
    )
    process.libraries = {"torch"}
    process.environment = {"PYTHONPATH": f"{INJECTED}:elsewhere"}
    for name, value in facts.items():
        setattr(process, name, value)
    return process


def counted(start_ticks: int = 5, kinds: int = 1) -> ProcessCounts:
    modules = [
        ModuleCalls(
            module=f"net.Net{number}",
            parameter_device="cpu",
            input_device="cpu",
            dtype="float32",
            train_mode=False,
            grad_enabled=False,
            calls=number + 1,
            rows=number + 1,
        )
        for number in range(kinds)
    ]
    return ProcessCounts(
        pid=11,
        start_ticks=start_ticks,
        parent_pid=7,
        arguments=["/usr/bin/python", "play.py"],
        reason=None,
        python="3.12.1",
        torch="2.9.0",
        start_method="spawn",
        cuda_visible_devices="0",
        cuda_initialised=False,
        gpu_memory_mib=None,
        cpu_count=8,
        debug_switches=[],
        unseen=["dynamo"],
        modules=modules,
        modules_left_out=0,
        own_seconds=0.0,
        progress={"games": 3.0},
    )


def why(process: ProgramProcess, injected: Path | None = INJECTED) -> str | None:
    ((record,), _) = process_records([process], [], {}, injected, 100.0)
    assert not record.instrumented
    return record.reason


def test_what_proc_shows_and_own_counts_are_joined_by_pid_and_start() -> None:
    process = in_tree("python", "play.py", cpu_seconds=2.5, peak_rss_mib=300.0, ended=104.0)
    ((record,), left_out) = process_records([process], [counted()], {}, INJECTED, 98.0)
    assert left_out == 0
    assert record.instrumented
    assert (record.started_s, record.ended_s, record.cpu_seconds) == (2.0, 6.0, 2.5)
    assert (record.torch, record.start_method, record.unseen) == ("2.9.0", "spawn", ["dynamo"])
    assert (record.modules[0].module, record.progress) == ("net.Net0", {"games": 3.0})
    # The PID was given twice: what the other process said is not this one's.
    two, _ = process_records([process], [counted(start_ticks=6)], {}, INJECTED, 98.0)
    assert {(record.instrumented, len(record.modules)) for record in two} == {(False, 0), (True, 1)}


def test_a_process_that_was_gone_before_the_first_scan_is_known_by_its_own_counts() -> None:
    ticks = round((time.clock_gettime(time.CLOCK_BOOTTIME) - 10) * proc.TICKS_PER_SECOND)
    missed, start = counted(start_ticks=ticks), time.monotonic() - 12
    ended = {missed.identity: start + 5}
    ((record,), left_out) = process_records([], [missed], ended, INJECTED, start)
    assert (record.pid, record.parent_pid, record.command) == (11, 7, "python play.py")
    assert record.started_s == pytest.approx(2, abs=0.2)
    assert (record.ended_s, record.cpu_seconds, record.driver_opened) == (5.0, None, None)
    assert (record.instrumented, record.modules[0].calls, left_out) == (True, 1, 0)
    # One without counts gets no line.
    silent = missed._replace(modules=[], progress={})
    assert process_records([], [silent], ended, INJECTED, start) == ([], 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("python3", "-I", "play.py"), "python -I ignores"),
        (("/usr/bin/python", "-uE", "play.py"), "python -E ignores"),
        (("python", "-X", "dev", "-S", "-m", "play"), "python -S ignores"),
        (("python", "-Ic", "pass"), "python -I ignores"),
        # Options of the program, not Python's.
        (("python", "play.py", "-I"), "reason unknown"),
        (("python", "-c", "pass", "-E"), "reason unknown"),
        (("python", "-mplay", "-S"), "reason unknown"),
        (("engine", "--cuda"), "it is no Python program"),
    ],
)
def test_why_a_process_with_torch_was_not_counted(arguments: tuple[str, ...], words: str) -> None:
    assert words in (why(in_tree(*arguments)) or "")


def test_why_by_the_environment_it_was_started_with() -> None:
    assert "cannot be read" in (why(in_tree("python", environment=None)) or "")
    assert "without PYTHONPATH" in (why(in_tree("python", environment={})) or "")
    replaced = in_tree("python", environment={"PYTHONPATH": "/srv/lib"})
    assert why(replaced) == "it was started with another PYTHONPATH"
    assert why(in_tree("python"), injected=None) == "--no-instrument"


def test_what_loads_no_torch_needs_no_excuse() -> None:
    assert why(in_tree("sleep", "5", libraries=set())) is None
    assert why(in_tree("python", libraries={"jax"})) == (
        "jax: its calls are not counted inside: only torch's modules are"
    )


def test_records_and_kinds_are_bounded() -> None:
    extra = range(MOST_PROCESSES + 30)
    many = [in_tree("python", pid=1000 + n, cpu_seconds=float(n)) for n in extra]
    idle_but_counted = in_tree("python", cpu_seconds=0.0)
    counts = [counted(kinds=50)]
    records, left_out = process_records([*many, idle_but_counted], counts, {}, INJECTED, 0)
    assert (len(records), left_out) == (MOST_PROCESSES, 31)
    (instrumented,) = [record for record in records if record.instrumented]
    assert [module.calls for module in instrumented.modules] == [50, 49, 48, 47, 46]
    assert instrumented.modules_left_out == sum(range(46))
    assert min(r.cpu_seconds or 0 for r in records if not r.instrumented) >= 31


def test_command_lines_are_masked_and_short() -> None:
    text = shown_command(
        ["/opt/venv/bin/python", "play.py", "--token", "secret", "/home/x/weights.pt"]
    )
    assert text == "python play.py --token *** weights.pt"
    assert len(shown_command(["python", "-c", "x" * 10_000])) == MOST_CHARACTERS
    assert shown_command(["caf\udce9"]).isprintable(), "not every argument is Unicode"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python play.py --device cuda", ("cuda", "--device cuda")),
        ("python play.py --device=cuda:1", ("cuda", "--device=cuda:1")),
        ("python play.py device=cpu", ("cpu", "device=cpu")),
        ("python play.py +trainer.device=cuda", ("cuda", "+trainer.device=cuda")),
        ("python play.py --device cuda --device cpu", ("cpu", "--device cpu")),
        ("python play.py --device auto", (None, None)),
        ("python play.py --device", (None, None)),
        ("python play.py --devices cuda --my-device=cuda", (None, None)),
    ],
)
def test_the_command_s_own_words_say_its_device(
    command: str, expected: tuple[str | None, str | None]
) -> None:
    assert expected_device(None, command.split()) == expected


def test_an_option_of_ours_comes_before_the_command_s_words() -> None:
    command = ["play", "--device", "cpu"]
    assert expected_device("cuda", command) == ("cuda", "--expect-device cuda")
    for none in ("gpu", "cuda:1"):
        with pytest.raises(UserError, match="--expect-device must be one of"):
            expected_device(none, command)
