"""Commands made of settings: their options are the fields of the settings' dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from blobdiag.model.errors import UserError
from blobdiag.model.option import Option, flag, options_of

if TYPE_CHECKING:
    from blobdiag.model.settings import Settings


def with_options(
    settings: type, groups: tuple[type, ...] | None = None, **defaults: Any
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Make a command of a function whose first argument is made from options.

    Args:
        settings: dataclass whose fields are the options.
        groups: its bases whose options the command has; None: all. The others keep their defaults.
        defaults: of options, in place of their own.

    The function's other arguments stay the command's own, and come first. The values made have
    the names of the options on the command line as `given`, if there is such a field.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        shared = options_of(settings, groups)
        hints = get_type_hints(settings)
        made = [
            _parameter(field, how, hints[name], defaults.get(name, field.default))
            for name, (field, how) in shared.items()
        ]
        own = [_keyword(p) for p in list(_signature(function).parameters.values())[1:]]
        extra = [_LIST_INJECTIONS] if "inject" in shared else []

        @wraps(function)
        def command(context: typer.Context, **values: Any) -> int:
            own_values = {p.name: values.pop(p.name) for p in own}
            values.pop(_LIST_INJECTIONS.name, None)
            chosen = {name: _value(shared[name][0], values[name]) for name in shared}
            if "given" in hints:
                chosen["given"] = _given(context)
            return function(settings(**chosen), **own_values)

        parameters = [*own, *made, *extra, _CONTEXT]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def measuring(
    settings: type[Settings], groups: tuple[type, ...] | None = None, **defaults: Any
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """As `with_options`, for a command that measures: its settings are checked before it runs."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @wraps(function)
        def checked(wanted: Settings, **own: Any) -> int:
            return function(_checked(wanted), **own)

        return with_options(settings, groups, **defaults)(checked)

    return decorate


def check_expectations(texts: tuple[str, ...]) -> None:
    """Raises UserError for an `--expect` that names no range, or no expectation."""
    from blobdiag.diagnosis.expectations import with_overrides

    try:
        with_overrides(texts)
    except ValueError as error:
        raise UserError(str(error)) from None


def _checked(settings: Settings) -> Settings:
    """As the engine at hand takes them. Raises UserError."""
    from dataclasses import replace

    settings.check()
    check_expectations(settings.expect)
    if settings.engine is None:
        return settings
    from blobdiag.measure.own_package import import_own_engine

    import_own_engine()
    # Its own training is the unit: the engine chooses how often it trains on an example.
    return replace(settings, reuse=1.0)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With annotations as types, whatever the function's module imports from __future__."""
    return inspect.signature(function, eval_str=True)


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _parameter(field: Field[Any], how: Option, kind: Any, default: Any) -> inspect.Parameter:
    """The option as Typer takes it."""
    more: dict[str, Any] = {
        "help": how.help,
        "metavar": how.metavar,
        "autocompletion": how.completions,
        "rich_help_panel": how.panel,
    }
    if how.is_argument:
        info = typer.Argument(**more)
    else:
        # By its flag alone, a bool has no --no-… beside it.
        info = typer.Option(*([flag(field.name)] if kind is bool else []), **more)
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]] | None  # type: ignore[misc]
        default = None
    if default is MISSING:
        default = inspect.Parameter.empty
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _value(field: Field[Any], value: Any) -> Any:
    """As the dataclass has it: repeated options are a tuple, or the default where none is given."""
    if not isinstance(field.default, tuple):
        return value
    return tuple(value) if value else field.default


def _given(context: typer.Context) -> frozenset[str]:
    """The names of the options that the command line gives."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(n for n, source in sources.items() if source and source.name != "DEFAULT")


def _list_injections(wanted: bool) -> None:
    if wanted:
        from blobdiag.model.faults import listing

        print(listing())
        raise typer.Exit


_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
_LIST_INJECTIONS = inspect.Parameter(
    "list_injections",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--list-injections",
            help="List the faults that --inject knows, and how each is found",
            callback=_list_injections,
            is_eager=True,
            rich_help_panel="Judgement",
        ),
    ],
)
