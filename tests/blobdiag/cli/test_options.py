"""Options derive from settings: their types, defaults, checks and use are declared once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from command_line import in_process
from typer.testing import CliRunner

from blobdiag.cli.settings_command import with_options
from blobdiag.model.errors import UserError
from blobdiag.model.evaluation_settings import EvaluationSettings
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.model.option import at_least, check_values, option
from blobdiag.model.output_format import Format
from blobdiag.model.settings import Settings
from blobdiag.model.shared_options import DTYPES, MAX_SIMULATIONS
from engine.network.blobnet import NetworkConfig
from engine.search import trees
from engine.training.iterations import TrainingSettings

SHARED_KEYS = {
    *("device", "games", "players", "cards", "determinizations", "simulations", "workers"),
    *("lanes", "threads", "dtype", "network", "checkpoint", "seed", "min_seconds"),
    *("stall_seconds", "plan_iterations", "plan_games", "reuse", "inject", "expect", "label"),
    *("output", "quiet", "tuned", "timeout", "format", "html", "engine"),
}
TRAINING_KEYS = {
    *("iterations", "run_dir", "resume", "learning_rate", "root_noise", "schedule"),
    *("evaluate_every", "deals"),
}
"""Of the configuration in reports that exist: reports of one workload have the same keys."""


# The command line


@dataclass(frozen=True, kw_only=True)
class Small:
    """Settings of a made-up command."""

    size: int = option("Shape", "How large", default=3, check=at_least(1))
    name: str | None = option("Shape", "How it is called", default=None)
    parts: tuple[str, ...] = option("Shape", "Of what", default=("a", "b"))
    hollow: bool = option("Shape", "Whether there is nothing in it", default=False)
    format: Format | None = option("Shape", "Its form", default=None)
    where: Path | None = option("Shape", "Its place", default=None)
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Larger(Small):
    """With an option of its own, and another default of one that it has from Small."""

    size: int = option("Shape", "How large", default=9)
    subject: str = option("Arguments", "What", metavar="SUBJECT", is_argument=True)


def called(settings: type, *arguments: str, **changes: Any) -> Any:
    """What the function gets, from a command line."""
    got: list[Any] = []

    @with_options(settings, **changes)
    def function(settings: Any, extra: Annotated[int, typer.Option(help="Its own")] = 1) -> int:
        got.extend([settings, extra])
        return 0

    app = typer.Typer(rich_markup_mode=None)
    app.command()(function)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return got


def test_without_options_the_defaults_hold() -> None:
    assert called(Small) == [Small(), 1]
    assert called(Small, size=4) == [Small(size=4), 1]


def test_options_become_fields() -> None:
    arguments = "--size 5 --name x --parts c --parts d --hollow --format json --where here"
    settings, extra = called(Small, *arguments.split(), "--extra", "2")
    assert extra == 2
    given = frozenset({"size", "name", "parts", "hollow", "format", "where", "extra"})
    parts = ("c", "d")
    assert settings == Small(
        size=5,
        name="x",
        parts=parts,
        hollow=True,
        format=Format.JSON,
        where=Path("here"),
        given=given,
    )


def test_a_subclass_overrides_and_has_arguments() -> None:
    settings, _ = called(Larger, "it")
    assert (settings.size, settings.subject) == (9, "it")
    settings, _ = called(Larger, "it", "--size", "2", groups=())
    assert settings == Larger(size=2, subject="it", given=frozenset({"size", "subject"}))


def test_only_options_of_the_groups_are_offered() -> None:
    @with_options(Larger, groups=())
    def function(settings: Any) -> int:
        return 0

    assert list(inspect.signature(function).parameters) == ["size", "subject", "context"]


def test_checks_are_those_of_the_fields() -> None:
    check_values(Small())
    with pytest.raises(UserError, match=r"^--size must be at least 1, not 0$"):
        check_values(Small(size=0))


# Settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "cuda:01"}, "--device must be auto, cpu, cuda or cuda:N, not 'cuda:01'"),
        ({"device": "cpu:0"}, "--device must be auto, cpu, cuda or cuda:N, not 'cpu:0'"),
        ({"device": "meta"}, "--device must be auto, cpu, cuda or cuda:N, not 'meta'"),
        ({"device": "mps"}, "--device must be auto, cpu, cuda or cuda:N, not 'mps'"),
        ({"games": 0}, "--games must be at least 1, not 0"),
        ({"simulations": 32_001}, "--simulations must be from 1 to 32,000, not 32,001"),
        (
            {"min_seconds": float("nan")},
            "--min-seconds must be above 0 and below 10,000,000, not nan",
        ),
        ({"timeout": float("inf")}, "--timeout must be above 0 and below 10,000,000, not inf"),
        ({"dtype": "float16"}, "--dtype must be one of auto, float32, bfloat16, not 'float16'"),
        ({"inject": "tiny-batches:2"}, "--determinizations 3"),
        ({"engine": "a"}, "--engine must read MODULE:FACTORY, not 'a'"),
    ],
)
def test_a_value_that_cannot_be_is_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        Settings(**changes).check()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:17"])
def test_devices_that_can_be(device: str) -> None:
    Settings(device=device).check()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iterations": 0}, "--iterations must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0 and below 100, not 0"),
        ({"root_noise": 1.5}, "--root-noise must be from 0 to 1, not 1.5"),
        ({"schedule": ("games=0..5",)}, "--schedule 'games=0..5' must be NAME=FIRST..LAST"),
        ({"schedule": ("simulations=9..40000",)}, "--schedule simulations: at most 32,000"),
        ({"resume": True}, "--resume needs --run-dir"),
        ({"given": frozenset({"deals"})}, "--evaluate-every"),
    ],
)
def test_a_training_that_cannot_be_is_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        IterationSettings(**changes).check()
    assert words in str(refused.value)


def test_reports_keep_the_keys_of_the_configuration() -> None:
    assert Settings().for_report().keys() == SHARED_KEYS
    assert IterationSettings().for_report().keys() == SHARED_KEYS | TRAINING_KEYS
    other = Settings(engine="a:b", players=3, given=frozenset({"players"})).for_report()
    assert other.keys() == SHARED_KEYS | TRAINING_KEYS
    assert (other["players"], other["cards"], other["lanes"]) == (3, None, None)
    assert other["reuse"] == 4.0


def test_values_in_a_report_are_plain() -> None:
    made = EvaluationSettings(player="rules", output=Path("a/b.json"), format=Format.JSON)
    values = made.for_report()
    assert values["output"] == "a/b.json"
    assert values["against"] == "random rules"
    assert values["format"] == "json"
    assert "games" not in values


def test_limits_and_defaults_are_the_engines() -> None:
    engine, ours = TrainingSettings(), IterationSettings()
    assert trees.MAX_SIMULATIONS == MAX_SIMULATIONS
    assert NetworkConfig.parse(ours.network) == NetworkConfig()
    names = ("players", "cards", "reuse", "root_noise", "deals")
    assert [getattr(ours, name) for name in names] == [getattr(engine, name) for name in names]
    assert DTYPES == ("auto", "float32", "bfloat16")


# Commands


def test_what_only_the_built_in_engine_does_is_refused_for_another(tmp_path: Path) -> None:
    for flag in (["--lanes", "3"], ["--verify-fix"]):
        result = in_process(tmp_path, "check-gpu", "--engine", "a:b", *flag)
        assert result.returncode == 2
        assert f"{flag[0]} is for the built-in engine" in result.stderr


@pytest.mark.parametrize("command", ["compare", "iteration", "check-gpu", "run"])
def test_an_expectation_that_is_none_is_refused_before_anything_starts(
    tmp_path: Path, command: str
) -> None:
    more = ["--", "true"] if command == "run" else []
    result = in_process(tmp_path, command, "--expect", "beauty=1..2", *more)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "--expect" in result.stderr
