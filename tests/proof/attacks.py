"""Hostile input, kills and extreme options: does every promise of docs/reliability.md hold?

    python tests/proof/attacks.py FOLDER --count 10000

Runs every module of tests/proof/attacks/ that has `attacks(folder, count)`, each in its own folder
of FOLDER, and prints a table. The exit code is 1 where an attack succeeded, or a part failed.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "proof"), str(TESTS / "support")]

import attacks as package  # noqa: E402
from attacks.common import Attack  # noqa: E402

COUNT = 300


def parts() -> list[str]:
    """The names of the modules that attack something."""
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    return [name for name in names if name != "common"]


def run_part(name: str, folder: Path, count: int) -> Iterator[Attack]:
    """The attacks of a part; where it fails itself, that is its last one."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield from importlib.import_module(f"attacks.{name}").attacks(folder, count)
    except Exception as error:
        yield Attack(name, "the part runs to its end", f"{type(error).__name__}: {error}", False)


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def main() -> int:
    """Run the parts, print a row for each attack; 1 where one succeeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an empty folder to work in")
    parser.add_argument("--count", type=int, default=COUNT, help="how many of the random kinds")
    parser.add_argument("--part", action="append", choices=parts(), help="only this part")
    arguments = parser.parse_args()
    print(row("part", "attack", "expected", "seen", ""), row(*["---"] * 5), sep="\n", flush=True)
    failed = total = 0
    for name in arguments.part or parts():
        begun = monotonic()
        for attack in run_part(name, arguments.folder.resolve() / name, arguments.count):
            total, failed = total + 1, failed + (not attack.ok)
            mark = "ok" if attack.ok else "FAILED"
            print(row(name, attack.name, attack.expected, attack.seen, mark), flush=True)
        print(f"{name}: {monotonic() - begun:.0f} s", file=sys.stderr)
    print(f"\n{total} attacks, {failed} succeeded")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
