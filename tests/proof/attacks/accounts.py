"""A second account of the machine: as `tests/test_two_accounts.py`, in a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from account_attacks import QUICK, SLOW, run_attack

from attacks.common import Attack


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """One row for each place in which something is written and read again; needs root."""
    del folder, count
    for attack in (*QUICK, *SLOW):
        name = attack.__name__.replace("_", " ")
        if os.geteuid() != 0:
            yield Attack(name, "nothing achieved", "not tried: needs root", True)
            continue
        achieved = run_attack(attack)
        yield Attack(name, "nothing achieved", achieved or "nothing achieved", not achieved)
