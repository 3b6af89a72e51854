"""Help: what it names, how it is wrapped, and that it imports next to nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import in_process
from typer.core import TyperGroup
from typer.main import get_command

from blobdiag.cli import app
from blobdiag.cli.commands import CommandGroup
from blobdiag.diagnosis.gates import FIGURES

MENTIONED = {
    "": ["check-gpu", "compare", "iteration", "doctor", "report", "--version"],
    "check-gpu": ["--device", "--games", "--inject", "--expect", "--min-seconds", "--verify-fix"],
    "compare": ["--device", "--games", "--checkpoint", "--network", "--dtype", "--quiet"],
    "iteration": ["--games", "--reuse", "--plan-games", "--iterations", "--run-dir", "--resume"],
    "tune": ["--device", "--network", "--workers", "--quick", "--explain"],
    "evaluate": ["CHECKPOINT", "--against", "--deals", "--seed", "--device", "--html"],
    "run": ["CMD", "--expect-device", "--judge", "--no-instrument", "--timeout", "--output"],
    "plan": ["REPORT", "--iterations", "--games", "--days", "--card-gb", "--accept-invalid"],
    "doctor": ["CUDA"],
    "report": ["show", "validate", "judge", "html", "trace", "list", "diff", "spread"],
    "report show": ["FILE", "--format"],
    "report validate": ["FILE"],
    "report judge": ["FILE", "--output", "--format"],
    "report trace": ["FILE", "--output", "perfetto.dev"],
    "report diff": ["OLD... -- NEW...", "--fail-on", *FIGURES],
    "report list": ["DIR", "--markdown", "exit code 2"],
}
NOT_OFFERED = {
    "tune": ["--games", "--min-seconds", "--expect", "--inject", "--engine", "--output"],
    "evaluate": ["--games", "--workers", "--dtype", "--network", "--tuned", "--expect"],
    "run": ["--workers", "--games", "--inject"],
}
PANELS = ["Training", "Measurement", "Workload", "Engine", "Judgement", "Plan", "Output", "Options"]
HEAVY = ("torch", "numba", "numpy", "psutil", "matplotlib", "rich.console", "engine")


def shown(folder: Path, command: str) -> str:
    result = in_process(folder, *command.split(), "--help")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("command", MENTIONED)
def test_help_names_what_there_is_to_choose(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = shown(tmp_path, command)
    assert not [words for words in MENTIONED[command] if words not in text]
    assert not [words for words in NOT_OFFERED.get(command, []) if words in text]


def test_options_stand_under_their_headings(tmp_path: Path) -> None:
    lines = shown(tmp_path, "iteration").splitlines()
    assert [line.rstrip(":") for line in lines if line.endswith(":") and line[0] != " "] == PANELS


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("command", ["", "iteration", "evaluate", "report diff"])
def test_help_fills_the_terminal(
    tmp_path: Path, command: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(tmp_path, command)
    wrapped, _, examples = text.partition("  Examples:\n")
    lines = wrapped.splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 12, "no lines of the source's width"
    # Only the separator of OLD... -- NEW... may end a line.
    assert not re.search(r"(?<!\.\.\. )--\n", wrapped)
    for line in examples.splitlines():
        assert re.match(r" {4}(\S.*)?blobdiag |$", line), line


def test_a_paragraph_is_wrapped_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words at any width; only where lines end differs."""
    texts = []
    for width in ("60", "140"):
        monkeypatch.setenv("COLUMNS", width)
        about = shown(tmp_path, "check-gpu").split("\n\n")[2]
        texts.append(about.splitlines())
    narrow, wide = texts
    assert len(narrow) > len(wide)
    assert " ".join(narrow).split() == " ".join(wide).split()
    assert max(map(len, wide)) > 100


def groups(group: TyperGroup) -> Iterator[CommandGroup]:
    assert isinstance(group, CommandGroup)
    yield group
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            yield from groups(command)


def test_a_command_is_listed_with_its_own_first_paragraph() -> None:
    for group in groups(get_command(app)):  # type: ignore[arg-type]
        for name, listed in group.listed.items():
            first = (group.commands[name].help or "").split("\n\n")[0]
            assert " ".join(first.split()) == listed.summary, name


@pytest.mark.parametrize("arguments", [[], ["--help"], ["report", "--help"], ["--version"]])
def test_help_imports_no_command_and_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    """The commands of a group are only listed; `typer` shows that names are looked for rightly."""
    program = (
        "import atexit, sys\n"
        f"sys.argv = ['blobdiag', *{arguments!r}]\n"
        "atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr))\n"
        "from blobdiag.cli import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    imported = set(result.stderr.splitlines())
    assert "typer" in imported
    assert not imported & set(HEAVY)
    # Some versions of typer read a command's arguments, as of "report", by pydantic.
    assert "pydantic" not in imported or "report" in arguments
    ours = {name for name in imported if name.startswith("blobdiag.")}
    expected = {"blobdiag.cli", "blobdiag.cli.commands", "blobdiag.cli.streams"}
    expected |= {"blobdiag.model", "blobdiag.model.errors"}
    if "report" in arguments:
        expected |= {"blobdiag.cli.report"}
    assert {name for name in ours if not name.startswith("blobdiag.targets")} == expected


def test_help_of_a_command_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from blobdiag.cli import app\n"
        "try: app(['iteration', '--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stderr == "[]\n"
    assert "--run-dir" in result.stdout


def test_a_mistyped_command_is_suggested(tmp_path: Path) -> None:
    result = in_process(tmp_path, "comapre")
    assert result.returncode == 2
    assert "'compare'" in result.stderr


def test_faults_are_listed(tmp_path: Path) -> None:
    result = in_process(tmp_path, "compare", "--list-injections")
    assert (result.returncode, result.stderr) == (0, "")
    assert "must be found as: tiny-batches" in result.stdout
