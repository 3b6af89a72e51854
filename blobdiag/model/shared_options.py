"""Every option that commands share, declared once.

A command's options, its settings, its checks and the report's `configuration` all derive from
these fields: a new option is one field here.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blobdiag.model import faults
from blobdiag.model.device import Device
from blobdiag.model.option import Use, above_zero, at_least, each, one_of, option, within
from blobdiag.model.output_format import Format
from blobdiag.model.schedule_option import SCHEDULED, parse_range

MAX_SIMULATIONS = 32_000
"""The engine's own limit, known here without importing it; a test holds the two together."""

MAX_TIMEOUT = 10_000_000
"""Of --timeout, seconds: 115 days."""

# Far above what any machine has or any training needs: a slip of the keyboard, or a script's, ends
# in a line and not in a machine that is out of memory.
MOST_GAMES = 1_000_000_000
MOST_DETERMINIZATIONS = 1_000
MOST_WORKERS = 1_024
MOST_THREADS = 1_024
MOST_LANES = 1_000_000
"""Of a worker."""
MOST_ITERATIONS = 1_000_000
MOST_REUSE = 10_000
MOST_LEARNING_RATE = 100
MOST_DEALS = 10_000_000
LARGEST_SEED = 2**62
LARGEST_LAYER = 65_536
"""Numbers in a layer of the network."""
MOST_LAYERS = 1_000

DTYPES = ("auto", "float32", "bfloat16")


def check_device(text: str) -> None:
    """Raises ValueError for what self-play cannot be asked to run on."""
    try:
        known = Device.parse(text).kind in ("auto", "cpu", "cuda")
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"must be auto, cpu, cuda or cuda:N, not {text!r}")


def check_seed(seed: int) -> None:
    """Raises ValueError for what random number generators do not take."""
    if not -LARGEST_SEED <= seed <= LARGEST_SEED:
        raise ValueError(f"must be from -{LARGEST_SEED:,} to {LARGEST_SEED:,}, not {seed:,}")


def check_network(text: str) -> None:
    """Raises ValueError for a network larger than any; its form is checked where it is made."""
    sizes = [int(part) for part in text.split("-") if re.fullmatch(r"[0-9]{1,20}", part)]
    if len(text) > 100 or max(sizes, default=0) > LARGEST_LAYER or sizes[1:2] > [MOST_LAYERS]:
        raise ValueError(
            f"must have at most {LARGEST_LAYER:,} numbers in a layer and {MOST_LAYERS:,} layers, "
            f"not {text!r}"
        )


def check_timeout(seconds: float) -> None:
    """Raises ValueError for what the timer cannot be set to."""
    above_zero(below=MAX_TIMEOUT)(seconds)
    if not hasattr(signal, "setitimer"):
        raise ValueError("needs a timer signal, which this system does not have")


def check_engine(text: str) -> None:
    """Raises ValueError for what names no factory, and where processes cannot be followed."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise ValueError(f"must read MODULE:FACTORY, not {text!r}")
    if sys.platform != "linux":
        raise ValueError("needs Linux: the engine's processes are found and ended by way of /proc")


def fault_names() -> Iterable[tuple[str, str]]:
    """With what each fault does."""
    return [(fault.name, fault.does) for fault in faults.FAULTS]


@dataclass(frozen=True, kw_only=True)
class Window:
    """How much is measured."""

    games: int = option(
        "Measurement", "Minimum number of finished games", default=20, check=at_least(1, MOST_GAMES)
    )
    min_seconds: float = option(
        "Measurement",
        "Minimum measuring window, seconds",
        default=10.0,
        check=above_zero(below=MAX_TIMEOUT),
    )


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """When the run is ended."""

    timeout: float | None = option(
        "Measurement",
        "End the run after this many seconds; what was measured until then is reported, as "
        "INCONCLUSIVE",
        default=None,
        metavar="SECONDS",
        check=check_timeout,
    )


@dataclass(frozen=True, kw_only=True)
class Search:
    """The game and the search; `cards` is checked where the game is set up."""

    players: int = option("Workload", "Number of players, 3 to 8", default=4, use=Use.FACTORY)
    cards: int = option(
        "Workload",
        "Cards dealt to each player, 1 to min(13, 52 ÷ players)",
        default=5,
        use=Use.FACTORY,
    )
    determinizations: int = option(
        "Workload",
        "Determinizations per decision",
        default=3,
        use=Use.BUILT_IN,
        check=at_least(1, MOST_DETERMINIZATIONS),
    )
    simulations: int = option(
        "Workload",
        "Simulations per determinization",
        default=30,
        use=Use.BUILT_IN,
        check=within(1, MAX_SIMULATIONS),
    )


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The network and what it starts from."""

    network: str = option(
        "Workload",
        "Shape of the network",
        default="256-6-8-1024",
        use=Use.BUILT_IN,
        metavar="EMB-LAYERS-HEADS-FF",
        check=check_network,
    )
    checkpoint: Path | None = option(
        "Workload",
        "File with the network's weights; default: random weights by --seed",
        default=None,
        use=Use.BUILT_IN,
    )
    seed: int = option(
        "Workload",
        "Seed of cards, noise and random weights",
        default=0,
        check=check_seed,
    )


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where networks run."""

    device: str = option(
        "Engine",
        "auto, cpu, cuda (workers spread over the GPUs) or cuda:N",
        default="auto",
        check=check_device,
        completions=lambda: ["auto", "cpu", "cuda", "cuda:0"],
    )


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How the machine is used."""

    workers: int | None = option(
        "Engine",
        "Worker processes; default: one per core, or one per GPU",
        default=None,
        use=Use.FACTORY,
        check=at_least(1, MOST_WORKERS),
    )
    lanes: int | None = option(
        "Engine",
        "Games in progress per worker; default: as many as fill its batches",
        default=None,
        use=Use.BUILT_IN,
        check=at_least(1, MOST_LANES),
    )
    threads: int | None = option(
        "Engine",
        "Search threads per worker; default: 1, or on a GPU its share of the cores",
        default=None,
        use=Use.BUILT_IN,
        check=at_least(1, MOST_THREADS),
    )
    tuned: bool = option(
        "Engine",
        "Use the setting that `blobdiag tune` found best on this machine",
        default=False,
        use=Use.BUILT_IN,
    )
    dtype: str = option(
        "Engine",
        "auto (bfloat16 where it is faster and agrees), float32 or bfloat16",
        default="auto",
        use=Use.BUILT_IN,
        check=one_of(*DTYPES),
        completions=lambda: DTYPES,
    )
    stall_seconds: float = option(
        "Engine",
        "Kill and replace a worker after this many seconds without progress; its games are "
        "played again",
        default=120.0,
        check=above_zero(below=MAX_TIMEOUT),
    )


@dataclass(frozen=True, kw_only=True)
class OtherEngine:
    """Another project's engine in place of the built-in one."""

    engine: str | None = option(
        "Engine",
        "Measure your own engine: the one that FACTORY returns",
        default=None,
        metavar="MODULE:FACTORY",
        check=check_engine,
    )


@dataclass(frozen=True, kw_only=True)
class FaultOption:
    """A fault on purpose."""

    inject: str | None = option(
        "Judgement",
        "Inject a fault, to see it found; --list-injections lists them",
        default=None,
        use=Use.BUILT_IN,
        metavar="NAME[:DOSE]",
        check=faults.parse,
        completions=fault_names,
    )


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """Ranges to judge by; their texts are checked by the command line."""

    expect: tuple[str, ...] = option(
        "Judgement",
        "Override an expectation, for example idle-gap=..2; may be repeated",
        default=(),
        metavar="NAME=LOW..HIGH",
    )


@dataclass(frozen=True, kw_only=True)
class Planning:
    """The training to plan."""

    plan_iterations: int = option(
        "Plan", "Number of iterations to plan", default=500, check=at_least(1, MOST_ITERATIONS)
    )
    plan_games: int = option(
        "Plan", "Games per iteration to plan", default=10_000, check=at_least(1, MOST_GAMES)
    )
    reuse: float = option(
        "Plan",
        "Number of times that each new example is trained on",
        default=4.0,
        use=Use.BUILT_IN,
        check=above_zero(below=MOST_REUSE),
    )


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is written and printed."""

    label: str | None = option(
        "Output",
        "Name of this machine in the report, which holds no host name",
        default=None,
    )
    output: Path | None = option(
        "Output",
        "Report file; default: ./reports/<UTC>-<command>-<device>.json",
        default=None,
    )
    format: Format | None = option(
        "Output",
        "Print the report in this form on stdout instead of tables; paths go to stderr",
        default=None,
    )
    html: bool = option("Output", "Also write the report as an HTML page beside it", default=False)
    quiet: bool = option("Output", "Print the report's path only", default=False)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training run, or one iteration of it."""

    iterations: int | None = option(
        "Training",
        "Number of iterations; default: 1, or with --resume as many as the run has",
        default=None,
        use=Use.BUILT_IN,
        check=at_least(1, MOST_ITERATIONS),
    )
    run_dir: Path | None = option(
        "Training",
        "Folder of the training run: it can be killed and resumed",
        default=None,
        use=Use.BUILT_IN,
    )
    resume: bool = option(
        "Training", "Resume the training run in --run-dir", default=False, use=Use.BUILT_IN
    )
    learning_rate: float = option(
        "Training",
        "Learning rate at the start; it falls to a twentieth along a cosine",
        default=1e-3,
        use=Use.BUILT_IN,
        check=above_zero(below=MOST_LEARNING_RATE),
    )
    root_noise: float = option(
        "Training",
        "Share of Dirichlet noise in the priors at the root, 0 to 1",
        default=0.25,
        use=Use.BUILT_IN,
        check=within(0, 1),
    )
    schedule: tuple[str, ...] = option(
        "Training",
        "Change a value evenly over the iterations, for example games=500..5000; NAME is one of "
        + ", ".join(SCHEDULED)
        + " (window: newest examples to train on); may be repeated",
        default=(),
        use=Use.BUILT_IN,
        metavar="NAME=FIRST..LAST",
        check=each(parse_range),
    )
    evaluate_every: int | None = option(
        "Training",
        "Play matches every this many iterations, and after the last: against a random player, "
        "rules of thumb, the first network, and the network's own policy",
        default=None,
        use=Use.BUILT_IN,
        metavar="ITERATIONS",
        check=at_least(1, MOST_ITERATIONS),
    )
    deals: int = option(
        "Training",
        "Deals per match; each is played once with the network in every seat",
        default=250,
        use=Use.BUILT_IN,
        check=at_least(1, MOST_DEALS),
    )
