"""Options in a remedy: only a run of the built-in engine takes ours."""

from __future__ import annotations

from blobdiag.model.report import Report


def is_built_in(report: Report) -> bool:
    """Whether the measured engine takes our options; another project's code takes its own."""
    return report.program is None and not report.configuration.get("engine")


def options(report: Report, *names: str) -> str:
    """' (--workers, --lanes)' to follow a remedy's words; empty where there are no such options."""
    return f" ({', '.join(names)})" if is_built_in(report) else ""
