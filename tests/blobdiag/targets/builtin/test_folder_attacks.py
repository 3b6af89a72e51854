"""Run folders with flipped bits and wrong types; more of them with `tests/proof/attacks.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT / "tests" / "proof"))

from attacks import folders  # noqa: E402


@pytest.mark.slow
def test_no_change_of_a_run_folder_is_taken_silently(tmp_path: Path) -> None:
    seen = list(folders.attacks(tmp_path, 150))
    assert len(seen) > 20
    assert [one for one in seen if not one.ok] == []
