"""Which part of blobdiag may import which, by the table in docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PARTS = {"cli", "model", "sampling", "targets", "measure", "diagnosis", "render", "store"}
ALLOWED: dict[str, set[str]] = {
    "cli": {"measure", "diagnosis", "render", "store", "model"},
    "measure": {"targets", "sampling", "model"},
    "targets": {"sampling", "model"},
    "sampling": {"model"},
    "diagnosis": {"model"},
    "render": {"model"},
    "store": {"model"},
    "model": set(),
    # Files of the package itself. `phase` and `progress` are those of the watched program.
    "__init__.py": {"targets"},
    "__main__.py": {"cli"},
    "pytest.py": {"measure", "sampling", "diagnosis", "model"},
}
WITH_ENGINE = "blobdiag/targets/builtin"
INSIDE = "blobdiag/targets/program/inside/site"
"""Runs in the watched program, where blobdiag may be missing."""


class Import(NamedTuple):
    """A line that imports `module`, of `blobdiag` or `engine`; `file` is relative to the tree."""

    file: Path
    line: int
    module: str

    @property
    def part(self) -> str:
        """`cli` of `blobdiag.cli.settings_command`, `engine` of any module of the engine."""
        names = self.module.split(".")
        if names[0] == "engine":
            return "engine"
        # `from blobdiag import __version__` takes it from the package itself.
        return names[1] if len(names) > 1 and names[1] in PARTS else "blobdiag"


def imports() -> Iterator[Import]:
    """Every import of ours, inside functions and `if TYPE_CHECKING` too."""
    for path in sorted((ROOT / "blobdiag").rglob("*.py")):
        file = path.relative_to(ROOT)
        for node in ast.walk(ast.parse(path.read_text())):
            for module in _modules(node, file):
                if module.partition(".")[0] in ("blobdiag", "engine"):
                    yield Import(file, node.lineno, module)  # type: ignore[attr-defined]


def _modules(node: ast.AST, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = [] if node.level == 0 else list(file.parts[: -node.level])
    module = ".".join([*package, *filter(None, [node.module])])
    return [f"{module}.{alias.name}" for alias in node.names]


def allowed(one: Import) -> bool:
    home = one.file.parts[1]
    if one.file.is_relative_to(INSIDE):
        return False
    if one.part == "engine":
        return one.file.is_relative_to(WITH_ENGINE)
    return one.part in (home, "blobdiag") or one.part in ALLOWED[home]


def test_every_part_has_its_row() -> None:
    homes = {p.name for p in (ROOT / "blobdiag").iterdir() if p.is_dir() or p.suffix == ".py"}
    assert homes - {"__pycache__"} == ALLOWED.keys()


def test_imports_follow_the_arrows() -> None:
    wrong = [
        f"{one.file}:{one.line}: {one.file.parts[1]} → {one.part} ({one.module})"
        for one in imports()
        if not allowed(one)
    ]
    assert not wrong, f"{len(wrong)} imports against docs/architecture.md:\n" + "\n".join(wrong)
