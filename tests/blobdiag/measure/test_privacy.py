"""What a report must not show, and text that is none, through whole commands."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import in_process

import reports
from blobdiag.cli.report_trace import trace
from blobdiag.measure.recording import Recording
from blobdiag.model.output_format import Format
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.recorded import Event, Phase
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report, write_report
from blobdiag.model.report_texts import masked_report
from blobdiag.model.selfplay import Hold
from blobdiag.render.formats import text_of
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.trace import Trace

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="run is for Linux only")

SECRET = "s3same"
HOME = "/home/ada"
SECONDS = 180

# Starts itself with each group of the arguments, and leaves the last one running.
PROGRAM = """
import json, os, subprocess, sys, time
from blobdiag_marks import phase, progress
if sys.argv[1] == "child":
    time.sleep(2 if sys.argv[2] == "brief" else 20)
    sys.exit()
with phase("log in with --token " + os.environ["HF_TOKEN"]):
    progress(games=3, **{"token=" + os.environ["HF_TOKEN"]: 2})
children = [subprocess.Popen([sys.executable, "p.py", "child", *group])
            for group in json.loads(os.environ["GROUPS_OF_ARGUMENTS"])]
for child in children[:-1]:
    child.wait()
"""
ARGUMENTS = [
    ("brief", "--password", f"a {SECRET} b", "--tokenizer", "bert"),
    ("brief", "--header", f"Authorization: Bearer {SECRET}", f"+hub.token={SECRET}"),
    ("brief", f'{{"api_key": "a {SECRET} b"}}', "-p", SECRET, "-u", f"ada:{SECRET}"),
    ("brief", f"https://ada:{SECRET}@example.org/x?token={SECRET}", f"DB_PWD={SECRET}"),
    ("brief", f"file://{HOME}/nets/best.pt", f"-I{HOME}/include:{HOME}/more"),
    ("long", f"password: a {SECRET} b"),
]
SHOWN = [
    "brief --password *** --tokenizer bert",
    "brief --header 'Authorization: ***' +hub.token=***",
    """brief '{"api_key": "***"}' -p *** -u ***""",
    "brief 'https://***@example.org/x?token=***' DB_PWD=***",
    "brief file://~/nets/best.pt -I~/include:~/more",
    "long 'password: ***'",
]


def run(
    folder: Path, command: Sequence[str | bytes], *options: str, **environment: str | bytes
) -> subprocess.CompletedProcess[bytes]:
    """`blobdiag run`, its report in folder/run.json."""
    variables = {**os.environb, **{os.fsencode(k): os.fsencode(v) for k, v in environment.items()}}
    return subprocess.run(
        [
            *(sys.executable, "-m", "blobdiag", "run", "--output", "run.json", *options, "--"),
            *command,
        ],
        cwd=folder,
        env=variables | {b"PYTHONPATH": os.fsencode(Path(__file__).parents[3])},
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


def outputs(path: Path) -> dict[str, str]:
    """The report in every form that it is shown in."""
    report = read_report(path)
    return {
        "json": path.read_text(),
        "list": in_process(path.parent, "report", "list", ".").stdout,
        "show": in_process(path.parent, "report", "show", str(path)).stdout,
        **{form.value: text_of(report, form) for form in Format},
    }


@linux
@pytest.mark.slow
def test_no_output_of_run_shows_a_secret_or_the_home(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(PROGRAM)
    done = run(
        tmp_path,
        [sys.executable, "p.py", "--token", SECRET],
        *("--html", "--label", f"token={SECRET}"),
        HF_TOKEN=SECRET,
        HOME=HOME,
        GROUPS_OF_ARGUMENTS=json.dumps(ARGUMENTS),
    )
    assert done.returncode == 0, done.stderr
    report = read_report(tmp_path / "run.json")
    trace(tmp_path / "run.json", tmp_path / "run.trace.json")
    texts = outputs(tmp_path / "run.json") | {
        "page": (tmp_path / "run.html").read_text(),
        "trace": (tmp_path / "run.trace.json").read_text(),
        "said": (done.stdout + done.stderr).decode(),
    }
    for name, text in texts.items():
        assert text, name
        assert SECRET not in text, name
        assert HOME not in text, name
    assert report.program is not None
    assert [phase.name for phase in report.phases] == ["log in with --token ***"]
    python = Path(sys.executable).name
    assert report.configuration["program"] == f"{python} p.py --token ***"
    commands = [process.command for process in report.program.processes]
    assert sorted(commands[1:]) == sorted(f"{python} p.py child {shown}" for shown in SHOWN)
    [left] = [event for event in report.events if event.kind == "outlived"]
    os.kill(int(left.text.split()[1]), signal.SIGKILL)
    assert report.machine.label == "token=***"


@linux
@pytest.mark.slow
def test_arguments_are_recorded_as_asked(tmp_path: Path) -> None:
    command = ["sleep", "0.1"]
    shown = {}
    for how in ("none", "masked", "all"):
        folder = tmp_path / how
        folder.mkdir()
        done = run(
            folder, ["/bin/sh", "-c", f"{shlex.join(command)}; :", "--password", SECRET],
            "--record-arguments", how,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        report = read_report(folder / "run.json")
        assert report.program is not None
        assert report.program.processes[0].command == report.program.command
        assert report.configuration["program"] == report.program.command
        assert report.configuration["record_arguments"] == how
        shown[how] = report.program.command
    assert shown == {
        "none": "sh",
        "masked": "sh -c 'sleep 0.1; :' --password ***",
        "all": f"/bin/sh -c 'sleep 0.1; :' --password {SECRET}",
    }


def test_arguments_cannot_be_recorded_in_another_way(tmp_path: Path) -> None:
    done = in_process(tmp_path, "run", "--record-arguments", "some", "--", "true")
    assert done.returncode == 2


def test_every_text_of_a_report_is_masked() -> None:
    secret = "--token " + SECRET
    call = {"parameter_device": "cpu", "input_device": "cpu", "dtype": "none"}
    process = ProcessRecord(
        pid=1,
        parent_pid=0,
        command="sh",
        started_s=0,
        reason=secret,
        cuda_visible_devices=secret,
        progress={secret: 1.0},
        modules=[
            ModuleCalls(
                module=secret, train_mode=False, grad_enabled=False, calls=1, rows=None, **call
            )
        ],
    )
    report = reports.full(
        failure=secret,
        gpu_reason=secret,
        sampler_death=secret,
        unsupported={"x": secret},
        phases=[Phase(name=secret, start_s=0, end_s=1)],
        events=[Event(at_s=0, kind="failed", text=f"Traceback\n  f(token='{SECRET}')\n")],
        holds=[Hold(phase=secret, where=f"x.py:3 {secret}", seconds=1, share=1)],
        workers=[reports.worker(stacks=f"x.py line 3\n  password = '{SECRET}'")],
        program=Program(command="sh", exit_code=0, instrumented=True, processes=[process]),
    )
    text = masked_report(report).model_dump_json()
    assert SECRET not in text
    assert text.count("***") == 13
    assert masked_report(masked_report(report)) == masked_report(report)


def test_reports_without_secrets_stay_as_they_are() -> None:
    assert masked_report(reports.full()) is not None
    assert masked_report(reports.full()) == reports.full()


# Text that is no text


def recorded(**parts: Any) -> Report:
    """A report as a measurement makes it, of a recording without a sampler."""
    samples = Trace()
    recording = Recording(
        "run", "cpu\udcff", {"x\udcff": "\udcff"}, None, samples, Recorder(samples)
    )
    recording.event("failed\udcff", "Traceback\n  ValueError: \udcff\n")
    with samples.phase("play \udcff"):
        samples.add("progress/\udcff", "x", 0.0, 1.0)
    return recording.report(gpus=[], used=[], phases=samples.to_phases(), **parts)


def test_a_report_takes_in_any_text(tmp_path: Path) -> None:
    worker = reports.worker(stacks="x.py \udcff", parameter_devices=["\udcff"])
    path = write_report(recorded(failure="\udcff", workers=[worker]), tmp_path / "report.json")
    report = read_report(path)
    assert (report.device, report.failure) == ("cpu\ufffd", "\ufffd")
    assert [phase.name for phase in report.phases] == ["play \ufffd"]
    assert "progress/\ufffd" in [series.name for series in report.series]
    assert report.events[0].text == "Traceback\n  ValueError: \ufffd\n"
    assert report.workers[0].parameter_devices == ["\ufffd"]
    assert b"udcff" not in path.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--label", "\udcff", "--", "touch", "started"),
        ("run", "--expect", "\udcff", "--", "touch", "started"),
        ("check-gpu", "--label", "my \udcff"),
        ("iteration", "--engine", "\udcff:make"),
    ],
)
@linux
def test_an_option_that_is_no_text_is_refused_before_anything_is_measured(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = in_process(tmp_path, *command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"blobdiag: {command[1]} must be text in UTF-8, not '")
    assert len(done.stderr.splitlines()) == 1
    done.stderr.encode()
    assert os.listdir(tmp_path) == []


@linux
@pytest.mark.slow
def test_bytes_that_are_no_text_lose_no_report_of_run(tmp_path: Path) -> None:
    marks = (
        "from blobdiag_marks import phase, progress\n"
        "with phase('\\udcff'): progress(**{'\\udcfe': 1})\n"
        "raise SystemExit(3)\n"
    )
    done = run(
        tmp_path,
        [sys.executable, "-c", marks, b"\xff", b"--token", b"\xfe"],
        CUDA_VISIBLE_DEVICES=b"\xff",
    )
    assert done.returncode == 3, done.stderr
    assert b"Traceback" not in done.stderr
    report = read_report(tmp_path / "run.json")
    assert report.program is not None
    [process] = report.program.processes
    assert process.instrumented
    assert process.cuda_visible_devices == "\ufffd"
    assert process.command.endswith("' '\ufffd' --token ***")
    assert len(report.phases) == 1
    assert list(process.progress.values()) == [1.0]


@linux
@pytest.mark.slow
def test_a_class_whose_name_is_no_text_is_counted(tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "class Net(torch.nn.Linear): pass\n"
        "Net.__qualname__ = 'Net\\udcff'\n"
        "Net(2, 2)(torch.ones(1, 2))\n"
    )
    done = run(tmp_path, [sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    report = read_report(tmp_path / "run.json")
    assert report.program is not None
    [process] = report.program.processes
    assert [module.module for module in process.modules] == ["__main__.Net\ufffd"]


ENGINE = """
class Engine:
    def play(self):
        yield 1
        raise ValueError("\\udcff --token {secret}")

def make(device):
    return Engine()
"""


@linux
@pytest.mark.slow
def test_an_engine_whose_error_is_no_text_leaves_a_report(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(ENGINE.format(secret=SECRET))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "blobdiag", "check-gpu", "--device", "cpu"),
            *("--engine", "bad:make", "--output", "report.json"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        timeout=SECONDS * 2,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    text = (tmp_path / "report.json").read_text()
    report = read_report(tmp_path / "report.json")
    assert report.failure == "the engine failed: ValueError: \ufffd --token ***"
    assert any("Traceback" in event.text for event in report.events)
    assert SECRET not in text
    assert json.loads(text)["failure"] == report.failure
