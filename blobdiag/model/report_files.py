"""Reports on disk: their names, written once and never overwritten, read with one-line errors."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from blobdiag.model.bounded_json import NotJson, parsed
from blobdiag.model.contradictions import contradiction
from blobdiag.model.errors import UserError
from blobdiag.model.masking import readable
from blobdiag.model.migrations import NotUpgradable, upgraded
from blobdiag.model.own_files import replace_whole, write_fresh
from blobdiag.model.regular_file import TooLarge, read_regular
from blobdiag.model.report import Report
from blobdiag.model.report_texts import with_texts

REPORTS = Path("reports")
"""Where reports go unless told otherwise."""

MOST_BYTES = 8_000_000
"""Of a report; the longest runs write less than 5 MB. Larger files are not read."""

TRACE_SUFFIX = ".trace.json"
"""Of a timeline that was drawn from a report."""


class ReportError(UserError):
    """A report that cannot be read or written; the text is one line for the user."""


def report_path(folder: Path, command: str, device: str, now: datetime) -> Path:
    """`<UTC>-<command>-<device>.json` in `folder`, numbered where that name is taken.

    `now` must be aware of its time zone.
    """
    stem = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_word(command)}-{_word(device)}"
    return _free(folder / f"{stem}.json")


def _free(path: Path) -> Path:
    """The path, or the first that is not there with a number behind its name."""
    found, number = path, 2
    while found.exists():
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return found


def check_writable(folder: Path) -> None:
    """Make the folder and try it out, so that a run is not measured in vain.

    Raises ReportError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReportError(f"cannot write reports to {folder}: {_reason(error)}") from None


def write_report(report: Report, path: Path, *, numbered: bool = False) -> Path:
    """Write all of the report or nothing, and never over a file that is there; its path.

    `numbered` has it take a free name where another run has come to have this one meanwhile.
    Raises ReportError.
    """
    content = _content(report, path)
    while numbered:
        path = _free(path)
        try:
            _write_new(path, content)
        except FileExistsError:
            continue
        except OSError as error:
            raise ReportError(f"cannot write {path}: {_reason(error)}") from None
        return path
    write_new(path, content)
    return path


def rewrite_report(report: Report, path: Path) -> None:
    """Put a report in the place of the one that the same run wrote there before.

    Whoever reads the file meanwhile, or after a crash, finds all of the old or all of the new.
    Raises ReportError.
    """
    try:
        replace_whole(path, _content(report, path))
    except OSError as error:
        raise ReportError(f"cannot write {path}: {_reason(error)}") from None


def write_new(path: Path, content: bytes) -> None:
    """Write all of a new file or nothing, and never over one that is there.

    Raises ReportError.
    """
    try:
        _write_new(path, content)
    except FileExistsError:
        raise ReportError(f"{path} exists; nothing is overwritten") from None
    except OSError as error:
        raise ReportError(f"cannot write {path}: {_reason(error)}") from None


def read_report(path: Path) -> Report:
    """The report in a file, brought to today's schema if it is an older one.

    Raises ReportError when it is missing, too large, is not a report, or was written by a newer
    blobdiag.
    """
    return report_of(read_data(path), path)


def read_data(path: Path) -> dict[str, Any]:
    """The JSON object in a file that claims to be a report, in the schema it was written in.

    Raises ReportError when it is missing, no regular file, larger than MOST_BYTES (then unread),
    out of the bounds of `bounded_json`, or no such object.
    """
    try:
        data = parsed(read_regular(path, MOST_BYTES))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {_reason(error)}") from None
    except TooLarge:
        raise ReportError(
            f"{path} is larger than {MOST_BYTES / 1e6:.0f} MB: not a blobdiag report"
        ) from None
    except NotJson as error:
        raise ReportError(f"{path} {error}") from None
    if not isinstance(data, dict) or not {"schema_version", "command"} <= data.keys():
        raise ReportError(f"{path} is not a blobdiag report")
    return data


def report_of(data: dict[str, Any], path: Path) -> Report:
    """The report in what was read from `path`.

    Raises ReportError when it is not valid, contradicts itself, or is of a newer schema.
    """
    try:
        report = Report.model_validate(upgraded(data))
    except NotUpgradable as error:
        raise ReportError(f"{path} {error}") from None
    except ValidationError as error:
        raise ReportError(f"{path} is not a valid report: {_first_problem(error)}") from None
    if against := contradiction(report):
        raise ReportError(f"{path} contradicts itself: {against}")
    return report


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a report."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | Report.model_json_schema()


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.") or "unknown"


def _write_new(path: Path, content: bytes) -> None:
    """Raises FileExistsError when `path` exists, whenever it came to be."""
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        write_fresh(temporary, content)
        # Opening with "x" reserves the name for us, so what is replaced is our own empty file.
        with path.open("x"):
            pass
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _content(report: Report, path: Path) -> bytes:
    """Raises ReportError for a value that JSON does not have."""
    try:
        return f"{_json(report)}\n".encode()
    except ValueError as error:
        raise ReportError(f"cannot write {path}: {_first_line(error)}") from None


def _json(report: Report) -> str:
    """A text that is not valid Unicode is made so: it is no reason to lose a measurement."""
    try:
        return report.model_dump_json(indent=1)
    except ValueError:
        return with_texts(report, readable).model_dump_json(indent=1)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _first_problem(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False, include_input=False)
    field = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(others)} more)" if others else ""
    return " ".join(f"{field or 'report'}: {first['msg']}{more}".split())
