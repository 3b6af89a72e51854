"""The command line: options and their help. A command's module is imported only when it runs."""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blobdiag import __version__, gates
from blobdiag.errors import UserError
from blobdiag.reporting.formats import Format
from blobdiag.two_sides import TwoSides

if TYPE_CHECKING:
    from blobdiag.settings import Settings

app = typer.Typer(
    name="blobdiag",
    help="Does your self-play use the GPU, and when will the training be done?",
    epilog="Exit codes: 0 passed or nothing to judge · 1 a deciding check failed · 2 bad usage or "
    "input · 3 inconclusive · 130, 143 interrupted (a report is still written).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
report_app = typer.Typer(no_args_is_help=True, help="Draw, check or compare saved reports.")
app.add_typer(report_app, name="report")

WORKLOAD, ENGINE, JUDGEMENT, PLAN, OUTPUT = "Workload", "Engine", "Judgement", "Plan", "Output"
TRAINING = "Training"


def _option(help: str, panel: str, name: str | None = None, **more: Any) -> Any:
    return typer.Option(*([name] if name else []), help=help, rich_help_panel=panel, **more)


def _examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def _faults() -> list[tuple[str, str]]:
    from blobdiag.injections import FAULTS

    return [(fault.name, fault.does) for fault in FAULTS]


def _list_injections(wanted: bool) -> None:
    if wanted:
        from blobdiag.injections import listing

        print(listing())
        raise typer.Exit


def options(
    device: Annotated[
        str,
        _option(
            "auto, cpu, cuda (workers spread over the GPUs) or cuda:N",
            ENGINE,
            autocompletion=lambda: ["auto", "cpu", "cuda", "cuda:0"],
        ),
    ] = "auto",
    games: Annotated[int, _option("Games that must finish, at least", WORKLOAD)] = 20,
    players: Annotated[int, _option("3 to 8", WORKLOAD)] = 4,
    cards: Annotated[int, _option("Cards dealt: 1 to min(13, 52 ÷ players)", WORKLOAD)] = 5,
    determinizations: Annotated[int, _option("Deals searched a decision", WORKLOAD)] = 3,
    simulations: Annotated[int, _option("Simulations a deal", WORKLOAD)] = 30,
    network: Annotated[
        str, _option("Shape of the network", WORKLOAD, metavar="EMB-LAYERS-HEADS-FF")
    ] = "256-6-8-1024",
    checkpoint: Annotated[
        Path | None, _option("A state dict to play with; else seeded random weights", WORKLOAD)
    ] = None,
    seed: Annotated[int, _option("Of cards, noise and random weights", WORKLOAD)] = 0,
    workers: Annotated[
        int | None, _option("Worker processes; else one a core, or one a GPU", ENGINE)
    ] = None,
    lanes: Annotated[
        int | None, _option("Games in progress a worker; else what fills its batches", ENGINE)
    ] = None,
    threads: Annotated[
        int | None, _option("Search threads a worker; else 1, or the cores a GPU", ENGINE)
    ] = None,
    tuned: Annotated[
        bool, _option("Use what `blobdiag tune` found best on this machine", ENGINE, "--tuned")
    ] = False,
    dtype: Annotated[
        str,
        _option(
            "auto (bfloat16 where faster and equal), float32 or bfloat16",
            ENGINE,
            autocompletion=lambda: ["auto", "float32", "bfloat16"],
        ),
    ] = "auto",
    stall_seconds: Annotated[
        float, _option("A worker that stands still so long is ended, its games replayed", ENGINE)
    ] = 120.0,
    engine: Annotated[
        str | None,
        _option("Measure your own engine: what FACTORY makes", ENGINE, metavar="MODULE:FACTORY"),
    ] = None,
    inject: Annotated[
        str | None,
        _option(
            "Break something on purpose, to see it found",
            JUDGEMENT,
            metavar="NAME[:DOSE]",
            autocompletion=_faults,
        ),
    ] = None,
    list_injections: Annotated[
        bool,
        _option(
            "What --inject can break, and how it is found",
            JUDGEMENT,
            "--list-injections",
            callback=_list_injections,
            is_eager=True,
        ),
    ] = False,
    min_seconds: Annotated[float, _option("Measure at least so long", JUDGEMENT)] = 10.0,
    expect: Annotated[
        list[str] | None,
        _option("Override an expectation, like self-play-gpu=60..", JUDGEMENT, metavar="NAME=L..H"),
    ] = None,
    timeout: Annotated[
        float | None,
        _option(
            "End the run after so long; what was measured is reported, as INCONCLUSIVE",
            JUDGEMENT,
            metavar="SECONDS",
        ),
    ] = None,
    plan_iterations: Annotated[int, _option("Iterations to plan for", PLAN)] = 500,
    plan_games: Annotated[int, _option("Games an iteration to plan for", PLAN)] = 10_000,
    reuse: Annotated[float, _option("Times each new example is trained on", PLAN)] = 4.0,
    label: Annotated[
        str | None, _option("Name this machine in the report; it says none itself", OUTPUT)
    ] = None,
    output: Annotated[
        Path | None, _option("Report file; else ./reports/<UTC>-<command>-<device>.json", OUTPUT)
    ] = None,
    format: Annotated[
        Format | None, _option("Print this on stdout instead of tables; paths on stderr", OUTPUT)
    ] = None,
    html: Annotated[
        bool, _option("Write the report as an HTML page too, beside it", OUTPUT, "--html")
    ] = False,
    quiet: Annotated[bool, _option("Print the report's path only", OUTPUT, "--quiet")] = False,
) -> "Settings":
    """What the measuring commands share: the options as Settings."""
    from blobdiag.settings import Settings

    values = dict(locals())
    del values["Settings"], values["list_injections"]
    return Settings(**{**values, "expect": tuple(expect or ())})


def _measuring(
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
    from blobdiag.engines.own_package import import_own_engine

    import_own_engine()
    # Its own training is the unit: the engine chooses how often it trains on an example.
    return replace(settings, reuse=1.0)


def _given(context: typer.Context) -> frozenset[str]:
    """The names of the options that the command line gives."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(n for n, source in sources.items() if source and source.name != "DEFAULT")


@app.command(
    "check-gpu",
    epilog=_examples(
        "blobdiag check-gpu",
        "blobdiag check-gpu --device cuda:1 --checkpoint weights.pt",
        "blobdiag check-gpu --inject device-not-propagated   # see the bug be found",
    ),
)
@_measuring(games=20)
def check_gpu(
    settings: "Settings",
    verify_fix: Annotated[
        bool,
        _option(
            "Apply the remedy of tiny batches or too many threads, and measure again",
            JUDGEMENT,
            "--verify-fix",
        ),
    ] = False,
) -> int:
    """Do my self-play workers use the GPU?

    Starts real workers, asks each where its network is, plays for a while under a sampler and
    judges utilisation, batches and search. Without a GPU the device's way to the workers is
    proven on torch's meta device, and the rest is INCONCLUSIVE (exit 3).
    """
    from blobdiag.commands.check_gpu import check_gpu

    return check_gpu(settings, verify_fix)


@app.command(
    "compare",
    epilog=_examples(
        "blobdiag compare --games 20",
        "blobdiag compare --device cpu --min-seconds 30 --html",
        "blobdiag compare --format markdown --timeout 300 >> summary.md",
    ),
)
@_measuring(games=20)
def compare(settings: "Settings") -> int:
    """Is the GPU worth it? Games per minute on the CPU and on the GPU, in turn, same seeds.

    Judges the lower bound of the speed-up, and that both devices give the same answers. Where
    there is only a CPU, that is measured.
    """
    from blobdiag.commands.compare import compare

    return compare(settings)


@app.command(
    "iteration",
    epilog=_examples(
        "blobdiag iteration --games 500",
        "blobdiag iteration --plan-iterations 200 --plan-games 20000 --reuse 2",
        "blobdiag iteration --iterations 500 --games 10000 --run-dir run   # train, for days",
        "blobdiag iteration --run-dir run --resume",
        "blobdiag iteration --expect self-play-gpu=60.. --format junit > iteration.xml",
    ),
)
@_measuring(games=500)
def iteration(
    settings: "Settings",
    iterations: Annotated[
        int | None, _option("Iterations to run really; else 1, or as many as resumed", TRAINING)
    ] = None,
    run_dir: Annotated[
        Path | None,
        _option("Keep the training here: it can then be killed and resumed", TRAINING),
    ] = None,
    resume: Annotated[
        bool, _option("Go on with the training in --run-dir", TRAINING, "--resume")
    ] = False,
    learning_rate: Annotated[
        float, _option("At first; falls to a twentieth by a cosine", TRAINING)
    ] = 1e-3,
    schedule: Annotated[
        list[str] | None,
        _option(
            "Grow evenly over the iterations, like games=500..5000; NAME is games, "
            "determinizations, simulations or window (newest examples to train on). Repeatable",
            TRAINING,
            metavar="NAME=FIRST..LAST",
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        _option(
            "After so many iterations each, and after the last, play matches: against a random "
            "player, rules of thumb, the first network, and the network's own policy",
            TRAINING,
            metavar="ITERATIONS",
        ),
    ] = None,
    deals: Annotated[
        int, _option("Of each match, every one played by all seatings", TRAINING)
    ] = 250,
) -> int:
    """What does a full iteration cost, where does the GPU idle, and how many days is the plan?

    Iterations for real: self-play, replay buffer, training, new weights to the workers. Each
    phase with its utilisation; then the days for the planned iterations, every term shown.
    With --run-dir it is a training that survives: killed at any moment, it loses a minute.
    """
    from blobdiag.commands.iteration import iteration
    from blobdiag.run_settings import RunSettings

    wanted = RunSettings(
        **vars(settings),
        iterations=iterations,
        run_dir=run_dir,
        resume=resume,
        learning_rate=learning_rate,
        schedule=tuple(schedule or ()),
        evaluate_every=evaluate_every,
        deals=deals,
    )
    wanted.check()
    return iteration(wanted)


NOT_FOR_TUNE = (
    *(
        "games",
        "min_seconds",
        "expect",
        "inject",
        "list_injections",
        "plan_iterations",
        "plan_games",
        "reuse",
        "engine",
    ),
    *("label", "output", "quiet", "timeout", "format", "html"),
)


@app.command(
    "tune",
    epilog=_examples(
        "blobdiag tune", "blobdiag tune --quick --device cuda:0", "blobdiag tune --explain"
    ),
)
@_measuring(without=NOT_FOR_TUNE)
def tune(
    settings: "Settings",
    seconds: Annotated[
        float | None, typer.Option(help="Measure for about so long; else 120, or 24 to explain")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A third of the time")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Where a second goes, and the chain of limits")
    ] = False,
) -> int:
    """Which workers, threads, lanes and dtype are fastest here?

    Measures candidates, prints a line each, marks one as recommended and keeps it for --tuned.
    With --explain one setting is taken apart instead: seconds by stage, and what each link of the
    chain from the machine's peak to games per minute gives away.
    """
    seconds = seconds if seconds is not None else 24.0 if explain else 120.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"--seconds must be above 0, not {seconds:g}")
    if quick:
        seconds /= 3
    if explain:
        from blobdiag.commands.explain import explain as run

        return run(settings, seconds)
    from blobdiag.commands.tune import tune

    return tune(settings, seconds)


NOT_FOR_EVALUATE = (
    *("games", "workers", "dtype", "network", "checkpoint", "min_seconds", "stall_seconds"),
    *("plan_iterations", "plan_games", "reuse", "tuned", "inject", "list_injections"),
    *("expect", "engine"),
)


@app.command(
    "evaluate",
    epilog=_examples(
        "blobdiag evaluate run",
        "blobdiag evaluate run --against run/networks/000000.safetensors --against raw",
        "blobdiag evaluate new.safetensors --against old.safetensors --deals 4000",
        "blobdiag evaluate rules --against random",
    ),
)
@_measuring(without=NOT_FOR_EVALUATE)
def evaluate(
    settings: "Settings",
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Weights (safetensors or a state dict), or the folder of a training run: its "
            "newest network; random, rules and search can be asked for too",
        ),
    ],
    against: Annotated[
        list[str] | None,
        _option(
            "random; rules (of thumb); search (without a network); raw (the network's own policy, "
            "no search); or weights. Repeatable; else random and rules",
            WORKLOAD,
            metavar="OPPONENT",
        ),
    ] = None,
    deals: Annotated[
        int, _option("Each is played once with the player in every seat", WORKLOAD)
    ] = 1000,
) -> int:
    """How strong is a network? Points a deal ahead of each opponent, with interval.

    Duplicate deals: the same cards are played with the player in every seat, against copies of the
    opponent, so that luck cancels. Networks play with their search, in float32.
    """
    from blobdiag.commands.evaluate import evaluate
    from blobdiag.evaluation_settings import EvaluationSettings

    chosen = tuple(against or ("random", "rules"))
    wanted = EvaluationSettings(**vars(settings), player=checkpoint, against=chosen, deals=deals)
    wanted.check()
    return evaluate(wanted)


@app.command(
    "run",
    context_settings={"allow_interspersed_args": False},
    epilog=_examples(
        "blobdiag run -- python my_selfplay.py --device cuda",
        "blobdiag run --expect-device cuda --judge -- torchrun --nproc-per-node 2 train.py",
    ),
)
def run(
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="Any program, as it is")],
    expect_device: Annotated[
        str | None,
        _option(
            "Where its networks should be, like cuda; else what its own --device says", JUDGEMENT
        ),
    ] = None,
    expect: Annotated[
        list[str] | None,
        _option("Override an expectation, like idle-gap=..2", JUDGEMENT, metavar="NAME=L..H"),
    ] = None,
    judge: Annotated[
        bool,
        _option("Exit with the verdict's code where the command ends with 0", JUDGEMENT, "--judge"),
    ] = False,
    timeout: Annotated[
        float | None,
        _option("End the command after so long, with exit code 124", JUDGEMENT, metavar="SECONDS"),
    ] = None,
    no_instrument: Annotated[
        bool,
        _option("Count nothing inside its Python processes", "Counting inside", "--no-instrument"),
    ] = False,
    count_every: Annotated[
        int, _option("Count 1 of N calls, for networks of microseconds", "Counting inside")
    ] = 1,
    label: Annotated[
        str | None, _option("Name this machine in the report; it says none itself", OUTPUT)
    ] = None,
    output: Annotated[
        Path | None, _option("Report file; else ./reports/<UTC>-run-<device>.json", OUTPUT)
    ] = None,
    format: Annotated[
        Format | None, _option("Print this on stderr instead of a few lines", OUTPUT)
    ] = None,
    html: Annotated[
        bool, _option("Write the report as an HTML page too, beside it", OUTPUT, "--html")
    ] = False,
    quiet: Annotated[bool, _option("Print the report's path only", OUTPUT, "--quiet")] = False,
) -> None:
    """The same diagnosis for any PyTorch program: which process ran what on which device?

    Runs a command with your terminal, watches every process it starts, and counts the calls of
    its networks inside them. What it prints and its exit code stay its own; what blobdiag has to
    say comes at the end, on stderr. Linux only.
    """
    from blobdiag.commands.run import RunSettings, run

    settings = RunSettings(
        expect_device=expect_device,
        expect=tuple(expect or ()),
        judge=judge,
        instrument=not no_instrument,
        count_every=count_every,
        timeout=timeout,
        label=label,
        output=output,
        format=format,
        html=html,
        quiet=quiet,
    )
    raise typer.Exit(run(command, settings))


@app.command(
    "plan",
    epilog=_examples(
        "blobdiag plan run.json --games 1000..10000 --days 10",
        "blobdiag plan home.json lab.json --price-per-hour 0.1 --price-per-hour 2.5",
    ),
)
def plan(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Saved reports, a column each")
    ],
    iterations: Annotated[
        int | None, typer.Option(help="Else as the first report planned, or 500")
    ] = None,
    games: Annotated[
        str | None,
        typer.Option(
            metavar="N|FIRST..LAST",
            help="Games an iteration, or growing evenly; else as the first report planned",
        ),
    ] = None,
    reuse: Annotated[
        float | None, typer.Option(help="Times each new example is trained on; else the report's")
    ] = None,
    examples_per_second: Annotated[
        float | None, typer.Option(help="Training speed to assume where none was measured")
    ] = None,
    days: Annotated[float | None, typer.Option(help="How fast must self-play be for that?")] = None,
    price_per_kwh: Annotated[float | None, typer.Option(help="In any currency")] = None,
    price_per_hour: Annotated[
        list[float] | None, typer.Option(help="Of the machine; once, or once for each report")
    ] = None,
    card_gb: Annotated[
        float | None, typer.Option(help="Largest batch and lanes for a GPU of so many GB")
    ] = None,
    accept_invalid: Annotated[
        bool,
        typer.Option("--accept-invalid", help="Plan also with interrupted or invalid reports"),
    ] = False,
    form: Annotated[str, typer.Option("--format", help="table or json")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to a new file, not to stdout")] = None,
) -> None:
    """When is my training done, and on which machine? From saved reports, nothing is run.

    Days with interval, every term with what a free one would gain, energy, cost and memory.
    """
    from blobdiag.commands.plan import Wanted, plan

    wanted = Wanted(
        iterations=iterations,
        games=games,
        reuse=reuse,
        examples_per_second=examples_per_second,
        days=days,
        price_per_kwh=price_per_kwh,
        price_per_hour=tuple(price_per_hour or ()),
        card_gb=card_gb,
        accept_invalid=accept_invalid,
    )
    raise typer.Exit(plan(reports, wanted, form, output))


@app.command(
    "doctor", epilog=_examples("blobdiag doctor", "CUDA_VISIBLE_DEVICES=1 blobdiag doctor")
)
def doctor() -> None:
    """Why is CUDA not seen? Driver, torch build, environment, container, permissions."""
    from blobdiag.commands.doctor import doctor

    raise typer.Exit(doctor())


ReportFile = Annotated[Path, typer.Argument(metavar="FILE", help="A report written by blobdiag")]


@report_app.command(
    "show",
    epilog=_examples(
        "blobdiag report show mine.json", "blobdiag report show mine.json --format markdown"
    ),
)
def show(
    file: ReportFile,
    format: Annotated[
        Format | None, typer.Option(help="Print this on stdout instead of tables")
    ] = None,
) -> None:
    """Draw a saved report, without running anything."""
    from blobdiag.commands.report import show

    show(file, format)


@report_app.command(
    "html",
    epilog=_examples(
        "blobdiag report html run.json", "blobdiag report html run.json --output page.html"
    ),
)
def html(
    file: ReportFile,
    output: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="The page; else FILE with suffix .html")
    ] = None,
) -> None:
    """Make one HTML page of a saved report: a timeline, and all else; it needs no network."""
    from blobdiag.commands.report import html

    html(file, output)


@report_app.command("validate", epilog=_examples("blobdiag report validate mine.json"))
def validate(file: ReportFile) -> None:
    """Say whether a file is a valid report."""
    from blobdiag.commands.report import validate

    validate(file)


@report_app.command("trace", epilog=_examples("blobdiag report trace run.json"))
def trace(
    file: ReportFile,
    output: Annotated[
        Path | None, typer.Option(help="Trace file; else FILE's name with .trace.json")
    ] = None,
) -> None:
    """Turn a saved report into a timeline for ui.perfetto.dev or chrome://tracing."""
    from blobdiag.commands.report_trace import trace

    trace(file, output)


@report_app.command(
    "diff",
    cls=TwoSides,
    epilog=_examples(
        "blobdiag report diff a1.json a2.json a3.json -- b1.json b2.json b3.json",
        "blobdiag report diff old.json new.json --fail-on games_per_minute:5%",
    ),
)
def diff(
    files: Annotated[
        list[str], typer.Argument(metavar="OLD... -- NEW...", help="Reports; OLD NEW, if two")
    ],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:PERCENT%",
            help="Exit 1 if the figure became worse by so much. Repeatable. Figures: "
            + ", ".join(gates.FIGURES),
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text, json or markdown")] = "text",
) -> None:
    """What changed between two sets of runs, and did anything become worse?

    Runs of the same code differ, so several reports a side are compared, best of runs that
    alternated; or one a side by the spread that `report spread` keeps. With --fail-on: exit 1
    when it became worse, 0 when not, 3 when these reports cannot tell.
    """
    from blobdiag.commands.report_diff import diff

    raise typer.Exit(diff(files, fail_on or [], form))


@report_app.command("spread", epilog=_examples("blobdiag report spread a.json b.json c.json"))
def spread(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Three or more of one configuration")
    ],
) -> None:
    """Keep how much runs of the same code differ on this machine, for `report diff`."""
    from blobdiag.commands.report_spread import spread

    raise typer.Exit(spread(files))


@report_app.command(
    "list",
    epilog=_examples(
        "blobdiag report list",
        "cd reports && blobdiag report list reference --markdown > README.md",
    ),
)
def list_reports(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Its *.json files; else ./reports")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The text of reports/README.md, with links")
    ] = False,
) -> None:
    """What was measured, when, on which machine: a row a report.

    A file that cannot be read is listed with its reason; exit code 2 where none could be.
    """
    from blobdiag.commands.report_list import list_reports

    raise typer.Exit(list_reports(folder, markdown))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"blobdiag {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    """Does your self-play use the GPU, and when will the training be done?"""


def main() -> None:
    """The console script: one line and exit code 2 for what the user can mend."""
    for stream in (sys.stdout, sys.stderr):
        # A report must not fail on a terminal that cannot draw a dash.
        getattr(stream, "reconfigure", lambda errors: None)(errors="replace")
    try:
        app()
    except UserError as error:
        print(f"blobdiag: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
