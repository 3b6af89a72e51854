"""Streams that are closed, full or without a reader, under commands of every kind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from odd_streams import FULL_STDOUT, ODD, Ended, run

from attacks.common import Attack

BLOBDIAG = (sys.executable, "-m", "blobdiag")
REFERENCE = Path(__file__).resolve().parents[3] / "reports" / "reference"
SMALL = (
    *("--device", "cpu", "--network", "32-2-4-64", "--determinizations", "2", "--lanes", "6"),
    *("--dtype", "float32", "--workers", "1", "--simulations", "6"),
)


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """Each command under each of the streams; measuring ones only where `count` is 300 or more."""
    report = str(min(REFERENCE.glob("*compare*.json")))
    readers = {
        "report show": ("report", "show", report),
        "report list": ("report", "list", str(REFERENCE)),
        "report judge": ("report", "judge", report),
        "plan": ("plan", report),
        "--help": ("--help",),
    }
    for name, arguments in readers.items():
        usual = run((*BLOBDIAG, *arguments), None, folder)
        for odd in ODD:
            ended = run((*BLOBDIAG, *arguments), odd, folder)
            expected = 2 if odd in FULL_STDOUT else usual.code
            yield _attack(f"{name}, {odd}", expected, ended, "")
    yield from _watched(folder)
    if count >= 300:
        yield from _measured(folder)


def _watched(folder: Path) -> Iterator[Attack]:
    program = ("sh", "-c", "echo hello; code=$?; echo on >&2; exit $((code + $?))")
    for number, odd in enumerate(ODD):
        without = run(program, odd, folder)
        output = folder / f"run-{number}.json"
        ended = run((*BLOBDIAG, "run", "--output", str(output), "--", *program), odd, folder)
        why = "" if ended.output == without.output else "another output"
        yield _attack(f"run, {odd}", without.code, ended, why or _report(output, without.code))


def _measured(folder: Path) -> Iterator[Attack]:
    for number, odd in enumerate(ODD):
        output = folder / f"compare-{number}.json"
        command = (*BLOBDIAG, "compare", *SMALL, "--games", "5", "--min-seconds", "1")
        ended = run((*command, "--output", str(output)), odd, folder)
        yield _attack(f"compare, {odd}", 0, ended, _report(output, 0))


def _attack(name: str, code: int, ended: Ended, why: str) -> Attack:
    text = ended.output + ended.errors
    seen = [f"exit code {ended.code}", *([why] if why else [])]
    seen += ["a traceback"] if "Traceback" in text or "Exception ignored" in text else []
    return Attack(name, f"exit code {code}", ", ".join(seen), seen == [f"exit code {code}"])


def _report(path: Path, code: int) -> str:
    """What is wrong with the report; "" where nothing is."""
    if not os.path.exists(path):
        return "no report"
    said = json.loads(path.read_text())["exit_code"]
    return "" if said == code else f"exit code {said} in the report"
