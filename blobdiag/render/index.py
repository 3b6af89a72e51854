"""A table of reports: for the terminal, and as the Markdown of `reports/README.md`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from blobdiag.model.base import Interval
from blobdiag.model.figures import figure, figure_range
from blobdiag.model.report import Report
from blobdiag.model.report_files import TRACE_SUFFIX, ReportError, read_report
from blobdiag.model.training import Match
from blobdiag.render.markdown import escaped
from blobdiag.render.shortened import shortened
from blobdiag.render.words import UNKNOWN, printable

ABOUT = """\
# Reports

`blobdiag` writes what it measured here, one JSON file a run, unless `--output` says otherwise.

- **Names**: `<UTC>-<command>-<device>.json`, as in `20251025T120000Z-compare-cuda-0.json`. A file
  is never overwritten: a second run of the same second gets `-2`. Interrupted runs are marked.
- **Privacy**: no host name, user name or absolute path, unless `--label` gives one; home is `~`,
  and values after names like token, key or password are masked.
- **Form**: `schema.json` is the JSON schema of what is written today, generated from
  `blobdiag/model/report.py` by `python -m blobdiag.model.schema > reports/schema.json`; a
  test holds the two together. Reports of an older `schema_version` are brought up to date when
  they are read. A figure that is `null` was not measured, and a reason is given; 0 is a measured
  zero.
- **Look at one**: `blobdiag report show FILE`. **Validate one**: `blobdiag report validate FILE`
  (exit code 2 and one line on stderr when it is not a report). **As a timeline** for
  [Perfetto](https://ui.perfetto.dev): `blobdiag report trace FILE`.

git ignores everything here but this file, `schema.json`, `reference/`, which holds chosen evidence,
and `learning/`, trainings and what their networks are worth. This file is written anew by

    cd reports && blobdiag report list reference learning --markdown > README.md

"""


SCHEMA = "schema.json"
ROW_WEIGHT = 400_000
"""Of what is kept of a report; see `shortened`."""


class Unreadable(NamedTuple):
    """A file that could not be read as a report, and why."""

    path: Path
    reason: str


class Entry(NamedTuple):
    """A report that was read."""

    path: Path
    report: Report


class Index(NamedTuple):
    """The reports of some folders by date, and the files that are no reports."""

    entries: list[Entry]
    unreadable: list[Unreadable]


def read_folders(folders: Sequence[Path]) -> Index:
    """Every `*.json` directly in the folders, except schemas and timelines written by blobdiag.

    Raises ReportError for the first that is no folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f"{folder} is not a folder")
    entries, unreadable = [], []
    for path in sorted(path for folder in folders for path in folder.glob("*.json")):
        if path.name == SCHEMA or path.name.endswith(TRACE_SUFFIX):
            continue
        try:
            entries.append(Entry(path, _for_a_row(read_report(path))))
        except ReportError as error:
            unreadable.append(Unreadable(path, str(error)))
    return Index(sorted(entries, key=lambda e: (e.report.started_utc, e.path)), unreadable)


def _for_a_row(report: Report) -> Report:
    """Without what no row shows: a folder of large reports fits in memory."""
    empty: dict[str, list[Any]] = {
        name: [] for name, value in report.__dict__.items() if isinstance(value, list)
    }
    kept = {name: getattr(report, name) for name in ("gpus", "throughput", "metrics", "matches")}
    return shortened(report.model_copy(update={**empty, "unsupported": {}, **kept}), ROW_WEIGHT)


def table(index: Index) -> RenderableType:
    """For the terminal: what was run, and its main figures."""
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    drawn.add_column("date (UTC)", no_wrap=True)
    drawn.add_column("run", overflow="fold")
    drawn.add_column("figures", overflow="fold")
    for path, report in index.entries:
        run = [
            f"{report.command} on {report.device}: {report.verdict}",
            *([report.program.command] if report.program else []),
            _machine(report),
            path.name,
        ]
        drawn.add_row(
            *(
                Text(printable("\n".join(lines)))
                for lines in (_date(report), run, map(_text, _headlines(report)))
            )
        )
    lost = [Text(printable(f"not read: {one.reason}")) for one in index.unreadable]
    return Group(*([drawn] if index.entries else []), *lost)


def markdown(index: Index) -> str:
    """What `reports/README.md` holds; links are relative to where the command was run."""
    heads = ["date (UTC)", "machine", "command", "device", *_UNITS, "verdict", "file"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for path, report in index.entries:
        about = [" ".join(_date(report)), _machine(report), report.command, report.device]
        link = f"[{escaped(path.name)}]({quote(os.fsencode(path.as_posix()))})"
        lines.append(_row([*map(escaped, about), *_columns(report), escaped(report.verdict), link]))
    lost = [f"\nNot read: {escaped(one.reason)}" for one in index.unreadable]
    return ABOUT + "\n".join(lines + lost) + "\n"


AHEAD = "points ahead"
_UNITS = ("games/min", "evals/s", "examples/s", "days", AHEAD)


class Headline(NamedTuple):
    """A main figure of a run; `value` is None where it is not known."""

    of: str
    """The device, empty where it is that of the run; of a match the opponent."""
    unit: str
    value: float | None
    interval: Interval | None = None


def _headlines(report: Report) -> Iterator[Headline]:
    for one in report.throughput:
        device = one.device if len(report.throughput) > 1 else ""
        rate = one.games_per_minute
        yield Headline(device, "games/min", rate.value, rate.interval)
        yield Headline(device, "evals/s", one.evaluations_per_second.value)
    for metric in report.metrics:
        # A program's own count of games is a metric, too.
        if metric.unit == "examples/s" or (metric.unit == "games/min" and report.program):
            yield Headline("", metric.unit, metric.value)
    if report.plan is not None:
        yield Headline("", "days", report.plan.days, report.plan.days_interval)
    for match in report.matches or _last_matches(report):
        ahead = match.difference
        yield Headline(match.opponent, AHEAD, ahead.value, ahead.interval)


def _last_matches(report: Report) -> list[Match]:
    """Of a training."""
    iterations = report.training.iterations if report.training else []
    return next((one.matches for one in reversed(iterations) if one.matches), [])


def _text(headline: Headline) -> str:
    value = UNKNOWN if headline.value is None else figure(headline.value)
    of = f"{headline.of}: " if headline.of else ""
    interval = f"\n  {figure_range(headline.interval)}" if headline.interval else ""
    return f"{of}{value} {headline.unit}{interval}"


def _columns(report: Report) -> list[str]:
    """A cell for each unit."""
    found = list(_headlines(report))
    return ["<br>".join(_cell(h) for h in found if h.unit == unit) or UNKNOWN for unit in _UNITS]


def _cell(headline: Headline) -> str:
    value = UNKNOWN if headline.value is None else figure(headline.value)
    of = f"{escaped(headline.of)}: " if headline.of else ""
    return f"{of}{value}" + (f" ({figure_range(headline.interval)})" if headline.interval else "")


def _date(report: Report) -> list[str]:
    return report.started_utc.removesuffix("Z").split("T")


def _machine(report: Report) -> str:
    machine = report.machine
    gpus = Counter(gpu.name for gpu in report.gpus)
    devices = [name if n == 1 else f"{n} × {name}" for name, n in gpus.items()] or [machine.cpu]
    cores = f"{machine.cores_usable} core{'' if machine.cores_usable == 1 else 's'}"
    return ", ".join([*([machine.label] if machine.label else []), *devices, cores])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
