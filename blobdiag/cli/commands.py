"""Commands that are imported when they are asked for, and help at the terminal's width.

Typer's own help imports rich with markdown and tracebacks, which alone doubles the time that
`blobdiag --help` takes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, NamedTuple, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 160}
FIRST_COLUMN, FIRST_COLUMN_SHARE = 30, 0.4
"""Of the names of options at most, in characters and as a share of the width."""
NON_BREAKING_HYPHEN = "\u2011"
"""In the place of `-` while lines are broken, so that `--list-injections` stays whole."""

Function = TypeVar("Function", bound=Callable[..., Any])


class _Help:
    """What the help of commands and of groups has in common."""

    def get_help(self, ctx: Any) -> str:
        """The whole text; called by click."""
        text: str = super().get_help(ctx)  # type: ignore[misc]
        return text.replace(NON_BREAKING_HYPHEN, "-")


class HelpedCommand(_Help, TyperCommand):
    """A command whose options stand under the headings that they name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write them; called by click."""
        _write_options(self, ctx, formatter)


class Listed(NamedTuple):
    """A command as its group lists it."""

    target: str
    """MODULE:NAME of the function, or of a group's Typer, in blobdiag.cli."""
    summary: str
    """The first paragraph of its docstring; a test holds the two together."""


class CommandGroup(_Help, TyperGroup):
    """A group whose commands are imported when they are asked for, not for the group's help."""

    listed: ClassVar[Mapping[str, Listed]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(self.listed)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names; called by click."""
        return list(self.listed)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options and commands; called by click."""
        _write_options(self, ctx, formatter)
        with formatter.section(_bold("Commands")):
            formatter.write_dl([(name, one.summary) for name, one in self.listed.items()])


@dataclass
class _Commands(Mapping[str, Any]):
    """Click's commands by name, made at first use."""

    listed: Mapping[str, Listed]
    made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            module, _, attribute = self.listed[name].target.partition(":")
            found = getattr(importlib.import_module(f"blobdiag.cli.{module}"), attribute)
            self.made[name] = _click_command(name, found)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.listed)

    def __len__(self) -> int:
        return len(self.listed)


@dataclass(frozen=True)
class _Description:
    """What a command is beside its function."""

    examples: tuple[str, ...]
    cls: type[HelpedCommand]
    context: Mapping[str, Any]


def command(
    *examples: str, cls: type[HelpedCommand] = HelpedCommand, **context: Any
) -> Callable[[Function], Function]:
    """Make a command of a function; what it returns is the exit code, None is 0.

    Args:
        examples: command lines that its help ends with.
        cls: click's class of the command.
        context: settings of click's context beside CONTEXT.
    """

    def decorate(function: Function) -> Function:
        function.__dict__["described"] = _Description(examples, cls, context)
        return function

    return decorate


def _click_command(name: str, found: Any) -> Any:
    """As click has it, of a group's Typer or of a function made a command."""
    if isinstance(found, typer.Typer):
        made = typer.main.get_command(found)
        made.name = name
        return made
    described: _Description = found.__dict__["described"]

    @wraps(found)
    def run(*args: Any, **values: Any) -> None:
        raise typer.Exit(found(*args, **values) or 0)

    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(
        name,
        cls=described.cls,
        epilog=_example_block(described.examples),
        context_settings={**CONTEXT, **described.context},
    )(run)
    return typer.main.get_command(alone)


def _example_block(lines: tuple[str, ...]) -> str:
    """Click does not wrap a paragraph that begins with a backspace."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        heading = getattr(parameter, "rich_help_panel", None) or "Options"
        if parameter.param_type_name == "argument":
            name, heading = parameter.metavar or name, "Arguments"
        # Some versions of typer escape brackets for rich.
        row = name, text.replace("\\[", "[").replace("-", NON_BREAKING_HYPHEN)
        sections.setdefault(heading, []).append(row)
    width = min(FIRST_COLUMN, int(FIRST_COLUMN_SHARE * formatter.width))
    # Arguments first, and last what every command has: --help, completion.
    order = sorted(sections, key=lambda heading: (heading != "Arguments", heading == "Options"))
    for heading in order:
        with formatter.section(_bold(heading)):
            formatter.write_dl(sections[heading], col_max=width)


def _bold(text: str) -> str:
    """Click takes the colours out where stdout is no terminal."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)
