"""Options in a remedy: only who measured the built-in engine can give them."""

from __future__ import annotations

from blobdiag.model.report import Report


def is_built_in(report: Report) -> bool:
    """Whether what was measured takes our options; another project's code takes its own."""
    return report.program is None and not report.configuration.get("engine")


def flag(report: Report, *options: str) -> str:
    """' (--workers, --lanes)' behind a remedy's words; nothing where it takes no such options."""
    return f" ({', '.join(options)})" if is_built_in(report) else ""
