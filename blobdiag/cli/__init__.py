"""The command line: options and their help. A command's module is imported only when it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blobdiag import __version__
from blobdiag.cli.options import (
    ENGINE,
    JUDGEMENT,
    OUTPUT,
    TRAINING,
    WORKLOAD,
    examples,
    measuring,
    option,
)
from blobdiag.cli.report import report_app
from blobdiag.model.errors import UserError
from blobdiag.render.formats import Format

if TYPE_CHECKING:
    from blobdiag.model.settings import Settings

app = typer.Typer(
    name="blobdiag",
    help="Does your self-play use the GPU, and when will the training be done?",
    epilog="Exit codes: 0 passed or nothing to judge · 1 a deciding check failed · 2 bad usage or "
    "input · 3 inconclusive · 130, 143 interrupted (a report is still written).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(report_app, name="report")


@app.command(
    "check-gpu",
    epilog=examples(
        "blobdiag check-gpu",
        "blobdiag check-gpu --device cuda:1 --checkpoint weights.pt",
        "blobdiag check-gpu --inject device-not-propagated   # see the bug be found",
    ),
)
@measuring(games=20)
def check_gpu(
    settings: "Settings",
    verify_fix: Annotated[
        bool,
        option(
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
    from blobdiag.cli.measuring import run_measurement
    from blobdiag.diagnosis.judge import judge
    from blobdiag.measure.check_gpu import check_gpu

    diagnose = (lambda report: judge(report).findings) if verify_fix else None
    return run_measurement(check_gpu(settings, diagnose))


@app.command(
    "compare",
    epilog=examples(
        "blobdiag compare --games 20",
        "blobdiag compare --device cpu --min-seconds 30 --html",
        "blobdiag compare --format markdown --timeout 300 >> summary.md",
    ),
)
@measuring(games=20)
def compare(settings: "Settings") -> int:
    """Is the GPU worth it? Games per minute on the CPU and on the GPU, in turn, same seeds.

    Judges the lower bound of the speed-up, and that both devices give the same answers. Where
    there is only a CPU, that is measured.
    """
    from blobdiag.cli.measuring import run_measurement
    from blobdiag.measure.compare import compare

    return run_measurement(compare(settings))


@app.command(
    "iteration",
    epilog=examples(
        "blobdiag iteration --games 500",
        "blobdiag iteration --plan-iterations 200 --plan-games 20000 --reuse 2",
        "blobdiag iteration --iterations 500 --games 10000 --run-dir run   # train, for days",
        "blobdiag iteration --run-dir run --resume",
        "blobdiag iteration --expect self-play-gpu=60.. --format junit > iteration.xml",
    ),
)
@measuring(games=500)
def iteration(
    settings: "Settings",
    iterations: Annotated[
        int | None, option("Iterations to run really; else 1, or as many as resumed", TRAINING)
    ] = None,
    run_dir: Annotated[
        Path | None,
        option("Keep the training here: it can then be killed and resumed", TRAINING),
    ] = None,
    resume: Annotated[
        bool, option("Go on with the training in --run-dir", TRAINING, "--resume")
    ] = False,
    learning_rate: Annotated[
        float, option("At first; falls to a twentieth by a cosine", TRAINING)
    ] = 1e-3,
    root_noise: Annotated[
        float,
        option("Share of Dirichlet noise in a root's priors; 0: none", TRAINING),
    ] = 0.25,
    schedule: Annotated[
        list[str] | None,
        option(
            "Grow evenly over the iterations, like games=500..5000; NAME is games, "
            "determinizations, simulations or window (newest examples to train on). Repeatable",
            TRAINING,
            metavar="NAME=FIRST..LAST",
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        option(
            "Every so many iterations, and after the last, play matches: against a random player, "
            "rules of thumb, the first network, and the network's own policy",
            TRAINING,
            metavar="ITERATIONS",
        ),
    ] = None,
    deals: Annotated[
        int, option("Of a match; each is played once with the network in every seat", TRAINING)
    ] = 250,
) -> int:
    """What does a full iteration cost, where does the GPU idle, and how many days is the plan?

    Iterations for real: self-play, replay buffer, training, new weights to the workers. Each
    phase with its utilisation; then the days for the planned iterations, every term shown.
    With --run-dir it is a training that survives: killed at any moment, it loses a minute.
    """
    from blobdiag.measure.iteration import iteration
    from blobdiag.model.iteration_settings import RunSettings

    wanted = RunSettings(
        **vars(settings),
        iterations=iterations,
        run_dir=run_dir,
        resume=resume,
        learning_rate=learning_rate,
        root_noise=root_noise,
        schedule=tuple(schedule or ()),
        evaluate_every=evaluate_every,
        deals=deals,
    )
    wanted.check()
    from blobdiag.cli.measuring import run_measurement

    with iteration(wanted) as measurement:
        return run_measurement(measurement)


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
    epilog=examples(
        "blobdiag tune", "blobdiag tune --quick --device cuda:0", "blobdiag tune --explain"
    ),
)
@measuring(without=NOT_FOR_TUNE)
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
        from blobdiag.cli.explaining import explain_and_draw as run

        return run(settings, seconds)
    from blobdiag.cli.tuning import tune_and_keep as tune

    return tune(settings, seconds)


NOT_FOR_EVALUATE = (
    *("games", "workers", "dtype", "network", "checkpoint", "min_seconds", "stall_seconds"),
    *("plan_iterations", "plan_games", "reuse", "tuned", "inject", "list_injections"),
    *("expect", "engine"),
    *("seed", "lanes", "threads"),  # of other things than workers
)


@app.command(
    "evaluate",
    epilog=examples(
        "blobdiag evaluate run",
        "blobdiag evaluate run --against run/networks/000000.safetensors --against raw",
        "blobdiag evaluate new.safetensors --against old.safetensors --deals 4000",
        "blobdiag evaluate rules --against random",
    ),
)
@measuring(without=NOT_FOR_EVALUATE)
def evaluate(
    settings: "Settings",
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Weights (safetensors or a state dict), or the folder of a training run: its "
            "newest network, at its own game and search; random, rules and search can be asked "
            "for too",
        ),
    ],
    against: Annotated[
        list[str] | None,
        option(
            "random; rules (of thumb); search (without a network); raw (the network's own policy, "
            "no search); or weights. Repeatable; else random and rules",
            WORKLOAD,
            metavar="OPPONENT",
        ),
    ] = None,
    deals: Annotated[
        int, option("Each is played once with the player in every seat", WORKLOAD)
    ] = 1000,
    seed: Annotated[int, option("Of the deals; no self-play has them", WORKLOAD)] = 0,
    threads: Annotated[int | None, option("Threads that play; else one a core", ENGINE)] = None,
    lanes: Annotated[int | None, option("Games in progress a thread", ENGINE)] = None,
) -> int:
    """How strong is a network? Points a deal ahead of each opponent, with interval.

    Duplicate deals: the same cards are played with the player in every seat, against copies of the
    opponent, so that luck cancels. Networks play with their search, in float32.
    """
    from blobdiag.measure.evaluate import evaluate
    from blobdiag.model.evaluation_settings import EvaluationSettings

    chosen = tuple(against or ("random", "rules"))
    own = {"seed": seed, "threads": threads, "lanes": lanes}
    wanted = EvaluationSettings(
        **{**vars(settings), **own}, player=checkpoint, against=chosen, deals=deals
    )
    wanted.check()
    from blobdiag.cli.measuring import run_measurement

    return run_measurement(evaluate(wanted))


@app.command(
    "run",
    context_settings={"allow_interspersed_args": False},
    epilog=examples(
        "blobdiag run -- python my_selfplay.py --device cuda",
        "blobdiag run --expect-device cuda --judge -- torchrun --nproc-per-node 2 train.py",
    ),
)
def run(
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="Any program, as it is")],
    expect_device: Annotated[
        str | None,
        option(
            "Where its networks should be, like cuda; else what its own --device says", JUDGEMENT
        ),
    ] = None,
    expect: Annotated[
        list[str] | None,
        option("Override an expectation, like idle-gap=..2", JUDGEMENT, metavar="NAME=L..H"),
    ] = None,
    judge: Annotated[
        bool,
        option("Exit with the verdict's code where the command ends with 0", JUDGEMENT, "--judge"),
    ] = False,
    timeout: Annotated[
        float | None,
        option("End the command after so long, with exit code 124", JUDGEMENT, metavar="SECONDS"),
    ] = None,
    no_instrument: Annotated[
        bool,
        option("Count nothing inside its Python processes", "Counting inside", "--no-instrument"),
    ] = False,
    count_every: Annotated[
        int, option("Count 1 of N calls, for networks of microseconds", "Counting inside")
    ] = 1,
    label: Annotated[
        str | None, option("Name this machine in the report; it says none itself", OUTPUT)
    ] = None,
    output: Annotated[
        Path | None, option("Report file; else ./reports/<UTC>-run-<device>.json", OUTPUT)
    ] = None,
    format: Annotated[
        Format | None, option("Print this on stderr instead of a few lines", OUTPUT)
    ] = None,
    html: Annotated[
        bool, option("Write the report as an HTML page too, beside it", OUTPUT, "--html")
    ] = False,
    quiet: Annotated[bool, option("Print the report's path only", OUTPUT, "--quiet")] = False,
) -> None:
    """The same diagnosis for any PyTorch program: which process ran what on which device?

    Runs a command with your terminal, watches every process it starts, and counts the calls of
    its networks inside them. What it prints and its exit code stay its own; what blobdiag has to
    say comes at the end, on stderr. Linux only.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("run watches programs on Linux only: elsewhere there is no /proc")
    from blobdiag.cli.watching import watch
    from blobdiag.model.program_settings import ProgramSettings

    settings = ProgramSettings(
        expect_device=expect_device,
        expect=tuple(expect or ()),
        judge=judge,
        instrument=not no_instrument,
        count_every=count_every,
        timeout=timeout,
        label=label,
    )
    raise typer.Exit(watch(command, settings, output=output, html=html, form=format, quiet=quiet))


@app.command(
    "plan",
    epilog=examples(
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
    from blobdiag.cli.plan import Wanted, plan

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


@app.command("doctor", epilog=examples("blobdiag doctor", "CUDA_VISIBLE_DEVICES=1 blobdiag doctor"))
def doctor() -> None:
    """Why is CUDA not seen? Driver, torch build, environment, container, permissions."""
    from blobdiag.cli.doctor import doctor

    raise typer.Exit(doctor())


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
