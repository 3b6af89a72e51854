"""Every reader of reports, called on one file in this process and judged by what it promises."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from blobdiag.cli import main

MOST_LINE = 320
"""Characters of an error line, with the program's name before it."""
MOST_PAGE = 1_500_000
MOST_OUTPUT = 40_000_000
"""Bytes that any reader prints or writes; JSON is as long as the report."""
EXIT_CODES = (0, 1, 2, 3, 130)
ANOTHER = (
    Path(__file__).parents[2] / "reports" / "reference" / "20261124T165054Z-iteration-cpu.json"
)


class Called(NamedTuple):
    """What a call of the command line came to."""

    arguments: tuple[str, ...]
    code: int
    output: bytes
    errors: str


def call(*arguments: str) -> Called:
    """`blobdiag ARGUMENTS`. Whatever it raises but SystemExit gets through."""
    streams = [TextIOWrapper(BytesIO(), encoding="utf-8") for _ in range(2)]
    with (
        redirect_stdout(streams[0]),
        redirect_stderr(streams[1]),
        patch("sys.argv", ["blobdiag", *arguments]),
        patch.dict("os.environ", {"BLOBDIAG_TRACEBACK": "1", "COLUMNS": "100"}),
    ):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    for stream in streams:
        stream.flush()
    output, errors = (stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]
    return Called(arguments, code, output, errors.decode(errors="replace"))


def _clean(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


READERS: dict[str, Callable[[Path], Called]] = {
    "validate": lambda f: call("report", "validate", str(f)),
    "show": lambda f: call("report", "show", str(f)),
    "markdown": lambda f: call("report", "show", str(f), "--format", "markdown"),
    "junit": lambda f: call("report", "show", str(f), "--format", "junit"),
    "json": lambda f: call("report", "show", str(f), "--format", "json"),
    "judge": lambda f: call("report", "judge", str(f)),
    "judge json": lambda f: call("report", "judge", str(f), "--format", "json"),
    "trace": lambda f: call(
        "report", "trace", str(f), "--output", str(_clean(f.parent / "out.trace"))
    ),
    "diff": lambda f: call("report", "diff", str(f), str(ANOTHER)),
    "diff json": lambda f: call("report", "diff", str(ANOTHER), str(f), "--format", "json"),
    "list": lambda f: call("report", "list", str(f.parent)),
    "list markdown": lambda f: call("report", "list", str(f.parent), "--markdown"),
    "spread": lambda f: call("report", "spread", str(f), str(ANOTHER), str(ANOTHER)),
    "plan": lambda f: call("plan", str(f), "--accept-invalid", "--card-gb", "24"),
    "plan json": lambda f: call("plan", str(f), "--accept-invalid", "--format", "json"),
    "html": lambda f: call("report", "html", str(f), "--output", str(_clean(f.parent / "p.html"))),
}
"""By name: a call on a file that is alone in its folder but for what readers write."""
SLOW = ("html",)
"""They draw with matplotlib."""
AS_IT_IS = ("json", "judge json", "diff json", "plan json")
"""JSON has escapes of its own."""


def faults(reader: str, file: Path) -> list[str]:
    """What a reader promises and did not keep, on a file."""
    try:
        called = READERS[reader](file)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"]
    found = []
    if called.code not in EXIT_CODES:
        found.append(f"exit code {called.code}")
    if called.code == 2:
        lines = called.errors.splitlines()
        if reader not in ("list", "list markdown") and len(lines) != 1:
            found.append(f"{len(lines)} lines of errors")
        found += [f"an error line of {len(ln)} characters" for ln in lines if len(ln) > MOST_LINE]
    if "Traceback" in called.errors:
        found.append("a traceback")
    if b"\x1b" in called.output or "\x1b" in called.errors:
        found.append("an escape reached the terminal")
    if re.search(rb"[\x00-\x08\x0e-\x1f]", called.output) and reader not in AS_IT_IS:
        found.append("a control character reached the terminal")
    if len(called.output) > MOST_OUTPUT:
        found.append(f"{len(called.output):,} bytes of output")
    page = file.parent / "p.html"
    if reader == "html" and page.exists() and page.stat().st_size > MOST_PAGE:
        found.append(f"a page of {page.stat().st_size:,} bytes")
    return found
