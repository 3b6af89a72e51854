"""A second account of the machine gets no code run, reads no record, has nothing overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from account_attacks import QUICK, SLOW, Attack, run_attack
from second_account import NAMELESS, needs_second_account, python_as, shared_folder

ROOT = Path(__file__).parents[1]

pytestmark = needs_second_account


@pytest.mark.parametrize("attack", QUICK, ids=lambda attack: attack.__name__)
def test_a_second_account_achieves_nothing(attack: Attack) -> None:
    assert run_attack(attack) == ""


@pytest.mark.slow
@pytest.mark.parametrize("attack", SLOW, ids=lambda attack: attack.__name__)
def test_kernels_of_a_second_account_are_not_executed(attack: Attack) -> None:
    assert run_attack(attack) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["doctor"], 0, "kernel cache"),
        (["report", "validate", "REPORT"], 0, ""),
        (["report", "diff", "REPORT", "REPORT"], 0, ""),
        (["report", "html", "REPORT", "--output", "page.html"], 0, "page.html"),
        (["run", "--", "echo", "it ran"], 0, "it ran"),
        (["compare", "--tuned", "--device", "cpu"], 2, "no setting is stored"),
        (["tune", "--device", "cpu"], 2, "set XDG_CONFIG_HOME"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_an_account_without_home_and_name(arguments: list[str], code: int, said: str) -> None:
    """Neither HOME nor an entry of /etc/passwd: nothing is stored, and nothing fails by it."""
    report = next((ROOT / "reports" / "reference").glob("*.json"))
    given = [str(report) if one == "REPORT" else one for one in arguments]
    kept = {k: v for k, v in os.environ.items() if k != "HOME" and not k.startswith("XDG_")}
    with shared_folder() as folder:
        Path(folder).chmod(0o1777)
        environment = kept | {"PYTHONPATH": str(ROOT), "TMPDIR": folder}
        ran = python_as(NAMELESS, ["-m", "blobdiag", *given], Path(folder), environment)
        assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr
        assert said in (ran.stderr if code else ran.stdout)
        for left in Path(folder).glob("blobdiag-*"):
            assert left.stat().st_mode & 0o077 == 0
