"""Runs a program of tests/programs under `blobdiag run`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from blobdiag.model.judgement import Check
from blobdiag.model.program import ProcessRecord
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"
SECONDS = 120
"""More than any of the programs takes."""


class Run(NamedTuple):
    """How it ended, what it printed, and its report."""

    code: int
    output: str
    errors: str
    report: Report

    @property
    def found(self) -> set[str]:
        """Names of the findings."""
        return {finding.name for finding in self.report.findings}

    @property
    def processes(self) -> list[ProcessRecord]:
        """By their start."""
        assert self.report.program is not None
        return self.report.program.processes

    @property
    def device_check(self) -> Check:
        return self.report.checks[0]

    def calls(self) -> dict[int, dict[str, int]]:
        """By PID: how often it called the networks of a device, of those that called any."""
        counted: dict[int, dict[str, int]] = {}
        for process in self.processes:
            for called in process.modules:
                if called.parameter_device != "none":
                    devices = counted.setdefault(process.pid, {})
                    device = called.parameter_device
                    devices[device] = devices.get(device, 0) + called.calls
        return counted


def python(program: str, *arguments: str) -> list[str]:
    """The command that runs tests/programs/PROGRAM."""
    return [sys.executable, str(PROGRAMS / program), *arguments]


def run(folder: Path, command: Sequence[str], *options: str) -> Run:
    """`blobdiag run OPTIONS -- COMMAND`, its report in the folder."""
    report = folder / "report.json"
    own = [sys.executable, "-m", "blobdiag", "run", "--quiet", "--output", str(report), *options]
    ended = subprocess.run(
        [*own, "--", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return Run(ended.returncode, ended.stdout, ended.stderr, read_report(report))
