"""Which package of the engine may import which; nothing in the engine imports blobdiag."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import engine

ALLOWED = {
    "game": set(),
    "network": {"game"},
    "search": {"game", "network"},
    "selfplay": {"game", "network", "search"},
    "matches": {"game", "network", "search"},
    "training": {"game", "network", "search", "selfplay", "matches"},
}
ROOT = Path(engine.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    """Absolute names of the modules a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_package_has_its_arrows() -> None:
    assert {path.parts[0] for path in FILES if len(path.parts) > 1} == ALLOWED.keys()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_follow_the_arrows(path: Path) -> None:
    modules = [name.split(".") for name in imported_modules(ROOT / path)]
    assert not [parts for parts in modules if parts[0] == "blobdiag"]
    if len(path.parts) == 1:
        return  # a module of the engine itself may use all packages
    package = path.parts[0]
    used = {parts[1] for parts in modules if parts[0] == "engine" and len(parts) > 1}
    assert used <= {package} | ALLOWED[package]
