"""What help, README and the workflow tell people to type is what the command line takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from blobdiag.cli import app
from blobdiag.model.faults import FAULTS

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "blobdiag.yml"
CI = (ROOT / "docs" / "ci.md").read_text()


def commands(group: typer.core.TyperGroup) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from ((f"{name} {inner}", found) for inner, found in commands(command))
        else:
            yield name, command


COMMANDS = dict(commands(typer.main.get_command(app)))  # type: ignore[arg-type]


def parse(line: str) -> None:
    """Have the command line read `blobdiag …`, without running it. Raises click's UsageError."""
    words = shlex.split(re.sub(r">>?.*", "", line), comments=True)
    words = words[words.index("blobdiag") + 1 :]
    name = " ".join(words[:2]) if words[0] == "report" else words[0]
    COMMANDS[name].make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_it_takes(name: str) -> None:
    unwrapped, title, *lines = (COMMANDS[name].epilog or "").splitlines()
    assert (unwrapped, title) == ("\b", "Examples:")
    assert lines
    for line in lines:
        assert f"blobdiag {name}" in line
        parse(line)


def test_an_example_that_is_none_is_noticed() -> None:
    with pytest.raises(Exception, match="--gamse"):
        parse("blobdiag compare --gamse 20")


def test_the_workflow_does_what_its_page_says() -> None:
    """Also that it is YAML, in which `on` means true."""
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert set(workflow[True]) == {"push", "pull_request"}
    [job] = workflow["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    install, *measuring = runs
    assert f"    {install}\n" in CI
    assert len(measuring) == 2
    for line in measuring:
        parse(line)
        assert line in CI


def test_a_shell_completes_names_of_faults(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from blobdiag.cli import app; app(prog_name='blobdiag')",
        ],
        env=os.environ
        | {
            "_BLOBDIAG_COMPLETE": "complete_bash",
            "COMP_WORDS": "blobdiag compare --inject ",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [fault.name for fault in FAULTS], done.stderr
