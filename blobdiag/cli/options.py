"""The options that the measuring commands share, and how a command is made with them."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blobdiag.render.formats import Format

if TYPE_CHECKING:
    from blobdiag.model.settings import Settings

WORKLOAD, ENGINE, JUDGEMENT, PLAN, OUTPUT = "Workload", "Engine", "Judgement", "Plan", "Output"
TRAINING = "Training"


def option(help: str, panel: str, name: str | None = None, **more: Any) -> Any:
    """An option under the heading `panel` of a command's help."""
    return typer.Option(*([name] if name else []), help=help, rich_help_panel=panel, **more)


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def _faults() -> list[tuple[str, str]]:
    from blobdiag.model.faults import FAULTS

    return [(fault.name, fault.does) for fault in FAULTS]


def _list_injections(wanted: bool) -> None:
    if wanted:
        from blobdiag.model.faults import listing

        print(listing())
        raise typer.Exit


def options(
    device: Annotated[
        str,
        option(
            "auto, cpu, cuda (workers spread over the GPUs) or cuda:N",
            ENGINE,
            autocompletion=lambda: ["auto", "cpu", "cuda", "cuda:0"],
        ),
    ] = "auto",
    games: Annotated[int, option("Games that must finish, at least", WORKLOAD)] = 20,
    players: Annotated[int, option("3 to 8", WORKLOAD)] = 4,
    cards: Annotated[int, option("Cards dealt: 1 to min(13, 52 ÷ players)", WORKLOAD)] = 5,
    determinizations: Annotated[int, option("Deals searched a decision", WORKLOAD)] = 3,
    simulations: Annotated[int, option("Simulations a deal", WORKLOAD)] = 30,
    network: Annotated[
        str, option("Shape of the network", WORKLOAD, metavar="EMB-LAYERS-HEADS-FF")
    ] = "256-6-8-1024",
    checkpoint: Annotated[
        Path | None, option("A state dict to play with; else seeded random weights", WORKLOAD)
    ] = None,
    seed: Annotated[int, option("Of cards, noise and random weights", WORKLOAD)] = 0,
    workers: Annotated[
        int | None, option("Worker processes; else one a core, or one a GPU", ENGINE)
    ] = None,
    lanes: Annotated[
        int | None, option("Games in progress a worker; else what fills its batches", ENGINE)
    ] = None,
    threads: Annotated[
        int | None, option("Search threads a worker; else 1, or the cores a GPU", ENGINE)
    ] = None,
    tuned: Annotated[
        bool, option("Use what `blobdiag tune` found best on this machine", ENGINE, "--tuned")
    ] = False,
    dtype: Annotated[
        str,
        option(
            "auto (bfloat16 where faster and equal), float32 or bfloat16",
            ENGINE,
            autocompletion=lambda: ["auto", "float32", "bfloat16"],
        ),
    ] = "auto",
    stall_seconds: Annotated[
        float, option("A worker that stands still so long is ended, its games replayed", ENGINE)
    ] = 120.0,
    engine: Annotated[
        str | None,
        option("Measure your own engine: what FACTORY makes", ENGINE, metavar="MODULE:FACTORY"),
    ] = None,
    inject: Annotated[
        str | None,
        option(
            "Break something on purpose, to see it found",
            JUDGEMENT,
            metavar="NAME[:DOSE]",
            autocompletion=_faults,
        ),
    ] = None,
    list_injections: Annotated[
        bool,
        option(
            "What --inject can break, and how it is found",
            JUDGEMENT,
            "--list-injections",
            callback=_list_injections,
            is_eager=True,
        ),
    ] = False,
    min_seconds: Annotated[float, option("Measure at least so long", JUDGEMENT)] = 10.0,
    expect: Annotated[
        list[str] | None,
        option("Override an expectation, like self-play-gpu=60..", JUDGEMENT, metavar="NAME=L..H"),
    ] = None,
    timeout: Annotated[
        float | None,
        option(
            "End the run after so long; what was measured is reported, as INCONCLUSIVE",
            JUDGEMENT,
            metavar="SECONDS",
        ),
    ] = None,
    plan_iterations: Annotated[int, option("Iterations to plan for", PLAN)] = 500,
    plan_games: Annotated[int, option("Games an iteration to plan for", PLAN)] = 10_000,
    reuse: Annotated[float, option("Times each new example is trained on", PLAN)] = 4.0,
    label: Annotated[
        str | None, option("Name this machine in the report; it says none itself", OUTPUT)
    ] = None,
    output: Annotated[
        Path | None, option("Report file; else ./reports/<UTC>-<command>-<device>.json", OUTPUT)
    ] = None,
    format: Annotated[
        Format | None, option("Print this on stdout instead of tables; paths on stderr", OUTPUT)
    ] = None,
    html: Annotated[
        bool, option("Write the report as an HTML page too, beside it", OUTPUT, "--html")
    ] = False,
    quiet: Annotated[bool, option("Print the report's path only", OUTPUT, "--quiet")] = False,
) -> "Settings":
    """What the measuring commands share: the options as Settings."""
    from blobdiag.model.settings import Settings

    values = dict(locals())
    del values["Settings"], values["list_injections"]
    return Settings(**{**values, "expect": tuple(expect or ())})


def measuring(
    without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Make a command of a function of Settings: its own options, then the shared ones.

    `defaults` replace those of shared options; those named in `without` are left out, and may be
    of the command's own.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., None]:
        shared = inspect.signature(options).parameters
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [
            p.replace(default=defaults.get(name, p.default), kind=p.KEYWORD_ONLY)
            for name, p in [
                *((p.name, p) for p in own),
                *((name, p) for name, p in shared.items() if name not in without),
            ]
        ]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY)
        parameters.append(context.replace(annotation=typer.Context))

        @wraps(function)
        def command(context: typer.Context, **values: Any) -> None:
            extra = {p.name: values.pop(p.name) for p in own}
            settings = _settings(values, _given(context))
            raise typer.Exit(function(settings, **extra))

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _settings(values: dict[str, Any], given: frozenset[str]) -> "Settings":
    """The shared options as Settings, checked. Raises UserError."""
    from dataclasses import replace

    settings = replace(options(**values), given=given)
    settings.check()
    if settings.engine is None:
        return settings
    from blobdiag.targets.external.own_package import import_own_engine

    import_own_engine()
    # Its own training is the unit: the engine chooses how often it trains on an example.
    return replace(settings, reuse=1.0)


def _given(context: typer.Context) -> frozenset[str]:
    """The names of the options that the command line gives."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(n for n, source in sources.items() if source and source.name != "DEFAULT")
