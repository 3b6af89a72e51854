"""How well one `iteration` report predicts five more iterations: ten small configurations.

    python tests/proof/plan_prediction.py FOLDER

Each configuration is measured once by `blobdiag iteration`; its report plans five iterations of as
many games as the configuration says, which then really run: engine, trainer and buffer as the
report's, in this process. Report and measurement stay in FOLDER; what is there is not run again,
so that a long count can go on where it stopped. The prediction is made anew from the report: a
changed model needs no new runs. A report that broke a rule of validity counts as not predicted:
`blobdiag plan` refuses it. On two cores it takes about ten minutes; nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from blobdiag.diagnosis.machine_plans import broken_rules
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import rates_of
from blobdiag.model.names import START_UP
from blobdiag.model.plan import Plan
from blobdiag.model.report_files import read_report
from engine.network.blobnet import NetworkConfig, build_network
from engine.search.compilation import compile_kernels
from engine.selfplay.engine import SelfPlayEngine
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import Callbacks, TrainingPipeline
from engine.training.replay import ReplayBuffer
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer

ITERATIONS = 5
TOLERANCE = 0.10
NEEDED = 9
"""Of ten configurations so many must be predicted within TOLERANCE."""
SECONDS = 240
"""More than any report takes."""
SEED = 7
"""Of the iterations that are predicted; the report's is 0."""


class Configuration(NamedTuple):
    """What is played; `planned` games an iteration are predicted from a report of `games`.

    The report trains with the default reuse, whatever `reuse` is planned.
    """

    network: str
    dtype: str
    games: int
    planned: int
    players: int = 4
    cards: int = 5
    determinizations: int = 3
    simulations: int = 30
    workers: int = 2
    lanes: int = 48
    reuse: float = 4.0

    @property
    def options(self) -> list[str]:
        """The report's command line."""
        own = self._asdict()
        del own["planned"], own["reuse"]
        return [word for name, value in own.items() for word in (f"--{name}", str(value))]


CONFIGURATIONS = {
    "default network": Configuration("256-6-8-1024", "bfloat16", 300, 150, lanes=24),
    "default network, float32": Configuration("256-6-8-1024", "float32", 180, 90, lanes=16),
    "small network": Configuration("64-2-4-128", "float32", 2800, 1500),
    "small, more games": Configuration("64-2-4-128", "float32", 2600, 3000),
    "medium network": Configuration("128-3-4-256", "float32", 1400, 700),
    "medium network, bfloat16": Configuration("128-3-4-256", "bfloat16", 1700, 500),
    "3 players, 7 cards": Configuration("128-1-4-128", "float32", 1600, 700, players=3, cards=7),
    "6 players, 3 cards": Configuration("128-2-4-256", "float32", 1900, 800, players=6, cards=3),
    "one worker": Configuration("128-2-4-256", "float32", 900, 400, workers=1),
    "more training": Configuration(
        "128-2-4-256", "float32", 3200, 400, reuse=12.0, determinizations=5, simulations=10
    ),
}


def measure(configuration: Configuration) -> dict[str, float]:
    """Seconds of each phase of ITERATIONS real iterations and of the whole; how long games were."""
    seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start = monotonic()
        yield
        seconds[name] += monotonic() - start

    c = configuration
    compile_kernels()
    begun = monotonic()
    with phase(START_UP):
        network = build_network(NetworkConfig.parse(c.network), "cpu", SEED)
        trainer = NetworkTrainer(network, dtype=c.dtype)
        engine = SelfPlayEngine(
            network,
            num_workers=c.workers,
            num_determinizations=c.determinizations,
            simulations_per_determinization=c.simulations,
            lanes=c.lanes,
            dtype=c.dtype,
            seed=SEED,
        )
        engine.start()
    with engine, trainer:
        room = ITERATIONS * c.planned * c.players * (c.cards + 1)
        settings = TrainingSettings(
            ITERATIONS,
            Ramp.level(c.planned),
            players=c.players,
            cards=c.cards,
            reuse=c.reuse,
            chunk_games=c.planned,
        )
        pipeline = TrainingPipeline(engine, trainer, ReplayBuffer(room, SEED), settings)
        lengths = [r.record.evaluations_per_game for r in pipeline.run(Callbacks(phase=phase))]
        done = monotonic() - begun
    return {**seconds, "all": done, "evaluations a game": sum(lengths) / len(lengths)}


def predict(report: Path, configuration: Configuration) -> Plan:
    """The plan of ITERATIONS, from the report alone."""
    saved = read_report(report)
    rates = rates_of(saved.throughput[-1], saved.metrics, saved.phases)
    return plan_with(rates, ITERATIONS, configuration.planned, configuration.reuse)


def run(name: str, configuration: Configuration, folder: Path) -> None:
    """Report and measurement of one configuration, unless they are there.

    Raises CalledProcessError where `blobdiag` leaves no report.
    """
    report, measured = paths(name, folder)
    if not report.exists():
        command = [sys.executable, "-m", "blobdiag", "iteration", "--device", "cpu", "--quiet"]
        command += [*configuration.options, "--output", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if not report.exists():
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    if not measured.exists():
        measured.write_text(json.dumps(measure(configuration), indent=1) + "\n")


def paths(name: str, folder: Path) -> tuple[Path, Path]:
    """Where a configuration's report and measurement are kept."""
    stem = name.replace(",", "").replace(" ", "_")
    return folder / f"{stem}.json", folder / f"{stem}-measured.json"


def table(folder: Path) -> tuple[Table, int, int]:
    """Predicted and measured seconds; how many configurations there are, and how many fit."""
    drawn = Table("configuration", title=f"{ITERATIONS} iterations, seconds", box=None)
    for head in ("predicted", "measured", "error", "by term: predicted, measured"):
        drawn.add_column(head, justify="left" if "term" in head else "right")
    count = fitting = 0
    for name, configuration in CONFIGURATIONS.items():
        report, measured = paths(name, folder)
        if not (report.exists() and measured.exists()):
            continue
        plan, seen = predict(report, configuration), json.loads(measured.read_text())
        predicted = plan.minutes_per_iteration * ITERATIONS * 60
        error = predicted / seen["all"] - 1
        count += 1
        broken = broken_rules(read_report(report))
        fitting += abs(error) <= TOLERANCE and not broken
        terms: dict[str, float] = defaultdict(float)
        for term in plan.terms:
            phase = "self-play" if term.name == "ramp-up and last wave" else term.name
            terms[phase] += term.minutes * ITERATIONS * 60
        pairs = [f"{n} {s:.1f}, {seen[n]:.1f}" for n, s in terms.items() if seen[n] >= 0.05]
        length = read_report(report).throughput[-1].search_health.evaluations_per_game or 0.0
        pairs.append(f"evaluations a game {length:,.0f}, {seen['evaluations a game']:,.0f}")
        figures = (f"{predicted:.1f}", f"{seen['all']:.1f}", f"{error:+.1%}")
        refused = [f"refused, {rule}" for rule in broken]
        drawn.add_row(name, *figures, "\n".join([" · ".join(pairs), *refused]))
    return drawn, count, fitting


def main() -> int:
    """Run what is missing and print the table; 1 where too few were predicted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=CONFIGURATIONS, action="append", help="of these alone")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=150, highlight=False)
    try:
        for name in arguments.only or CONFIGURATIONS:
            console.print(name)
            run(name, CONFIGURATIONS[name], arguments.folder)
    except KeyboardInterrupt:
        console.print("interrupted: what has been run is counted, the rest goes on next time")
    drawn, count, fitting = table(arguments.folder)
    console.print(drawn)
    console.print(f"{fitting} of {count} within {TOLERANCE:.0%}")
    return 0 if fitting >= min(count, NEEDED) else 1


if __name__ == "__main__":
    sys.exit(main())
