"""The saved report that a command reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ReportFile = Annotated[Path, typer.Argument(metavar="FILE", help="A report written by blobdiag")]
