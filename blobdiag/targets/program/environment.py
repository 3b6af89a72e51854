"""The environment in which every Python process of a program counts its own forward calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from blobdiag.targets.program import inside
from blobdiag.targets.program.inside.site.blobdiag_record import pid_namespace

INJECTED = Path(inside.__file__).parent / "site"
"""The folder that comes first on the program's PYTHONPATH."""


def environment(base: Mapping[str, str], folder: Path, every: int = 1) -> dict[str, str]:
    """`base` with what `inside` reads: records go to `folder`, 1 call in `every` is counted."""
    paths = [str(INJECTED), *filter(None, [base.get("PYTHONPATH")])]
    return {
        **base,
        "PYTHONPATH": os.pathsep.join(paths),
        "BLOBDIAG_RECORDS": str(folder.absolute()),
        "BLOBDIAG_COUNT_EVERY": str(every),
        "BLOBDIAG_PID_NAMESPACE": pid_namespace(),
    }
