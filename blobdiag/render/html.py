"""A report as one HTML page that needs no network; its script only reads values off the timeline.

The template escapes every text of a report: none of it is markup.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from blobdiag.model.base import Role, Status
from blobdiag.model.figures import figure, figure_range
from blobdiag.model.idle_owners import all_idle_owners, idle_owners
from blobdiag.model.judgement import Check, IdleGap
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord
from blobdiag.model.strength import opponents
from blobdiag.render import plots, processes, strength, words
from blobdiag.render.findings import parts
from blobdiag.render.learning_curve import learning_curve
from blobdiag.render.shortened import LIMITS, shortened
from blobdiag.render.tracks import Tracks, drawable, summaries, tracks
from blobdiag.render.unknowns import unknowns

# Beside the word, so that a status does not depend on colour.
_SYMBOLS = {
    Status.PASS: "✓",
    Status.FAIL: "✕",
    Status.INCONCLUSIVE: "?",
    Status.NOT_APPLICABLE: "–",
}
MOST_OWNERS = 3
"""Lines of each process."""


MOST_BYTES = 1_500_000
"""Of a page."""
MOST_WEIGHT = 600_000
"""Of the report that it is drawn of, without the timeline."""


def page(report: Report) -> str:
    """The whole page, complete in itself; at most MOST_BYTES, the same for the same report."""
    for first in range(len(LIMITS)):
        made = _page(shortened(report, MOST_WEIGHT, first))
        if len(made.encode(errors="replace")) <= MOST_BYTES:
            break
    return made


def _page(report: Report) -> str:
    environment = Environment(
        loader=PackageLoader("blobdiag.render", "page"),
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(
        words=words,
        processes=processes,
        strength=strength,
        opponents=opponents,
        figure=figure,
        parts=parts,
        figure_range=figure_range,
        zip=zip,
        Role=Role,
    )
    environment.filters.update(status=_status, symbol=_SYMBOLS.__getitem__, stages=_stages)
    script = _asset("page.js")
    shown = tracks(report)
    drawn = replace(shown, panels=drawable(shown.panels))
    owners = [_owner(report, gap) for gap in report.idle_gaps]
    return environment.get_template("page.html").render(
        report=report,
        css=_asset("page.css"),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        tracks=shown,
        summaries=[(phase, summaries(shown.panels, phase)) for phase in shown.phases],
        timeline=_both(plots.timeline, drawn, owners) if shown.panels and shown.end > 0 else None,
        series=_series(drawn),
        owners=owners,
        minutes=_both(plots.minutes, report.plan) if report.plan else None,
        days=_both(plots.days, report.plan) if report.plan else None,
        learning=_both(learning_curve, report.training) if _learned(report) else None,
        idle_owners=all_idle_owners(report, MOST_OWNERS),
        unknowns=unknowns(report),
    )


def _learned(report: Report) -> bool:
    """Whether there is a curve: two iterations make one."""
    return report.training is not None and len(report.training.iterations) > 1


def _both(plot: Any, *arguments: Any) -> list[tuple[str, Markup]]:
    """A plot for a desktop and for a phone, each with its CSS class; its SVG is safe markup."""
    widths = {"wide": plots.WIDE, "narrow": plots.NARROW}
    return [(name, Markup(plot(*arguments, width))) for name, width in widths.items()]


def _asset(name: str) -> Markup:
    """A file of the package, to be inserted as it is."""
    return Markup(resources.files("blobdiag.render").joinpath("page", name).read_text("utf-8"))


def _printable(value: Any) -> Any:
    """Replace control characters, which HTML does not allow, in a report's texts."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return words.printable(value) if plain else value


def _series(drawn: Tracks) -> dict[str, Any]:
    """Columns of seconds and values for the script.

    With more digits than are shown, so that rounding twice does not change the last one.
    """
    return {
        "end": drawn.end,
        "phases": [
            {"name": words.printable(p.name), "start": p.start_s, "end": p.end_s}
            for p in drawn.phases
        ],
        "lines": [
            {
                "label": line.label,
                "unit": panel.unit,
                "times": [round(time, 3) for time in line.times],
                "values": [v if v is None else float(f"{v:.6g}") for v in line.values],
            }
            for panel in drawn.panels
            for line in panel.lines
        ],
    }


def _owner(report: Report, gap: IdleGap) -> str | None:
    """The code that kept the device waiting longest in a gap's phase; None where none was seen."""
    owners = idle_owners(report, [gap])
    if not owners:
        return None
    process, hold = owners[0]
    return f"{hold.where}, {100 * hold.share:.0f} % of the waiting of {process}"


def _status(check: Check) -> str:
    """A check's result in words; an advisory check is not worded like a verdict."""
    return words.ADVISORY_WORDS[check.status] if check.role is Role.ADVISORY else check.status.value


def _stages(worker: WorkerRecord) -> list[tuple[str, float]]:
    """(stage, share of the worker's seconds), the largest first."""
    total = sum(worker.stage_seconds.values())
    if total <= 0:
        return []
    shares = ((stage, seconds / total) for stage, seconds in worker.stage_seconds.items())
    return sorted(shares, key=lambda entry: -entry[1])
