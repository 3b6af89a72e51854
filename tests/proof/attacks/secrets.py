"""Secrets in command lines and texts, and text that is none, against every output of a report."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from secret_forms import FORMATS, FORMS, SECRET, STAY

import reports
from attacks.common import Attack
from blobdiag.cli.report_list import list_reports
from blobdiag.cli.report_trace import trace
from blobdiag.model.masking import mask_text
from blobdiag.model.output_format import Format
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.recorded import Event, Phase
from blobdiag.model.report import Report
from blobdiag.model.report_files import write_report
from blobdiag.model.report_texts import masked_report
from blobdiag.render.formats import text_of
from blobdiag.render.html import page
from blobdiag.targets.program.process_records import shown_command


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """`count` command lines of random secrets; then reports that hold all of them."""
    dice = random.Random(count)
    lines = [_line(dice) for _ in range(count)]
    readable = [line for line, value in lines if value in shown_command(line)]
    yield Attack(
        f"{count:,} command lines, each with a random secret in one of "
        f"{len(FORMS) + len(FORMATS)} forms",
        "none can be read",
        f"{len(readable)} can be read {readable[:1] or ''}",
        not readable,
    )
    # In a text nothing says where a value without quotes ends but a space.
    texts = [_line(dice, spaces=False) for _ in range(40)]
    shown = outputs(folder, _report(texts))
    leaks = [name for name, text in shown.items() if any(value in text for _, value in texts)]
    yield Attack(
        "40 of them in phases, events, failure and processes of a report, in every output",
        "none can be read",
        f"{len(shown)} outputs, can be read in {leaks or 'none'}",
        not leaks and all(shown.values()),
    )
    pieces = [_noise(dice) for _ in range(count)]
    unstable = [text for text in pieces if mask_text(mask_text(text)) != mask_text(text)]
    yield Attack(
        f"{count:,} texts of quotes, slashes, names and bytes that are no text",
        "masked without an error, and the same when masked again",
        f"{len(unstable)} change {unstable[:1] or ''}",
        not unstable,
    )
    yield Attack("forms that stay readable", "at most 3", f"{len(STAY)}: {STAY}", len(STAY) <= 3)


def _line(dice: random.Random, spaces: bool = True) -> tuple[list[str], str]:
    """A command line, and the secret in it."""
    if dice.random() < 0.2:
        key = dice.choice(FORMATS)
        return ["tool", key], key
    letters = string.ascii_letters + string.digits
    value = "q" + "".join(dice.choices(letters, k=dice.randint(6, 30))) + "7"
    whole = SECRET if spaces else f"a {SECRET} b"
    form = [a.replace(whole, value).replace(SECRET, value) for a in dice.choice(FORMS)]
    before, after = (
        ["--games", "3", "x=1", "a b", "--verbose"][: dice.randint(0, 5)] for _ in "ab"
    )
    return ["tool", *before, *form, *after], value


def _noise(dice: random.Random) -> str:
    pieces = [
        *"\"'\\/:=,;&?@[]{}~ \n.a1-",
        "--password",
        "token",
        "http://",
        "\udcff",
        "C:\\",
        "***",
    ]
    return "".join(dice.choices(pieces, k=dice.randint(1, 20)))


def _report(lines: list[tuple[list[str], str]]) -> Report:
    """One that holds every line as a text of each kind, and as a command line."""
    texts = _alone(lines)
    processes = [
        ProcessRecord(pid=10 + n, parent_pid=10, command=shown_command(line), started_s=0.0)
        for n, (line, _) in enumerate(lines)
    ]
    return masked_report(
        reports.full(
            failure=texts[0],
            phases=[Phase(name=text, start_s=0.0, end_s=9.0) for text in texts],
            events=[Event(at_s=1.0, kind="failed", text=text) for text in texts],
            program=Program(command="tool", exit_code=0, instrumented=True, processes=processes),
        )
    )


def _alone(lines: list[tuple[list[str], str]]) -> list[str]:
    """The argument that holds the secret, where it says by itself that it does."""
    found = (next((a for a in line if value in a), "") for line, value in lines)
    return [text for text in found if "***" in mask_text(text)]


def outputs(folder: Path, report: Report) -> dict[str, str]:
    """A report in every form."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_report(report, folder / "report.json")
    trace(path, folder / "report.trace.json")
    listed = StringIO()
    with redirect_stdout(listed):
        list_reports([folder])
    return {
        "file": path.read_text(),
        "trace": (folder / "report.trace.json").read_text(),
        "page": page(report),
        "list": listed.getvalue(),
        **{form.value: text_of(report, form) for form in Format},
    }
