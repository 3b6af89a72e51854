"""`blobdiag report validate`: is a file a report?"""

from __future__ import annotations

from blobdiag.cli.commands import command
from blobdiag.cli.report_argument import ReportFile


@command("blobdiag report validate mine.json")
def validate(file: ReportFile) -> None:
    """Say whether a file is a valid report, and of which schema version."""
    from blobdiag.model.report_files import read_data, report_of
    from blobdiag.render.words import printable

    data = read_data(file)
    written, read_as = data["schema_version"], report_of(data, file).schema_version
    older = f" (read as version {read_as})" if read_as != written else ""
    print(f"{printable(str(file))}: valid report of schema version {written}{older}")
