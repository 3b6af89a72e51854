"""Commands of another account of this machine, which only root can start: setpriv(1)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

SECOND = 65534
"""The account that attacks: `nobody`."""
NAMELESS = 54321
"""One that /etc/passwd does not have."""

needs_second_account = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="starts commands of another account: needs root and setpriv",
)


def shell_as(uid: int, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script as another account, in a folder; its output and exit code."""
    return subprocess.run(
        [*_become(uid), "/bin/sh", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python_as(
    uid: int, arguments: list[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run this Python as another account; skips where that may not read it."""
    reading = _reading_as(uid)
    if reading is None:
        pytest.skip(f"another account may not read {sys.executable}")
    return subprocess.run(
        [*reading, sys.executable, *arguments],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def shared_folder() -> TemporaryDirectory[str]:
    """A new folder that every account can reach, as those of pytest are not; only ours to write."""
    made = TemporaryDirectory(prefix="two-accounts-", dir="/tmp")
    os.chmod(made.name, 0o755)
    return made


def _become(uid: int) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


@cache
def _reading_as(uid: int) -> list[str] | None:
    """How to start Python as that account: with leave to read all, where it is in /root."""
    capability = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    # setpriv may still start a Python that the account itself could not start again.
    probe = "import subprocess, sys, numba; subprocess.run([sys.executable, '-c', ''], check=True)"
    for command in (_become(uid), [*_become(uid), *capability]):
        tried = subprocess.run(
            [*command, sys.executable, "-c", probe],
            cwd="/",
            env={k: v for k, v in os.environ.items() if k != "HOME"},
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return command
    return None
