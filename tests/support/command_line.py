"""The command line in this process: torch is imported once, not by every command."""

from __future__ import annotations

import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

import pytest

from blobdiag.cli import main


def in_process(folder: Path, *arguments: str) -> CompletedProcess[str]:
    """`blobdiag ARGUMENTS` in `folder`: its exit code and what it printed."""
    output, errors = StringIO(), StringIO()
    command = ["blobdiag", *arguments]
    with (
        chdir(folder),
        redirect_stdout(output),
        redirect_stderr(errors),
        patch.object(sys, "argv", command),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return CompletedProcess(
        command, int(ended.value.code or 0), output.getvalue(), errors.getvalue()
    )
