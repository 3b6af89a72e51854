"""Another project's engine, behind the Protocol that README describes, as the commands see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from blobdiag.model.base import Metric
from blobdiag.model.names import EXAMPLES_TRAINED, GAMES_PLAYED, SELF_PLAY, TRAINING, WARM_UP
from blobdiag.model.selfplay import (
    AnswersDifference,
    Block,
    SearchHealth,
    Throughput,
    WorkerRecord,
)
from blobdiag.model.settings import Settings
from blobdiag.model.statistics import evaluations_per_second, games_per_minute
from blobdiag.sampling.trace import Trace
from blobdiag.targets.builtin.devices import worker_devices
from blobdiag.targets.builtin.run_folder import TrainingJob
from blobdiag.targets.counters import BLOCK_SECONDS, ThreadLog
from blobdiag.targets.external.engine_process import EngineFailed, EngineProcess
from blobdiag.targets.external.forward_counts import ForwardCounts
from blobdiag.targets.protocol import (
    IterationStage,
    OnEvent,
    OnProgress,
    OnStep,
    PhaseMarker,
    Probes,
    Watch,
)
from blobdiag.targets.training_rate import training_rate

WARM_UP_SECONDS = 2.0
"""Of play, at least, before a window; longer where no game has finished by then."""


class ExternalEngine:
    """The engine that `--engine MODULE:FACTORY` names."""

    proof_device = None
    memory = None

    def __init__(self, settings: Settings) -> None:
        self.unseen = f"the search of {settings.engine} is not seen from outside"

    def prepare(self, phase: PhaseMarker) -> None:
        """Nothing: what the engine needs it does when it is made."""

    def arm(self, settings: Settings, device: str) -> ExternalArm:
        """Self-play on a device. Raises DeviceUnavailable."""
        return ExternalArm(settings, device, ["play"])

    def iterations(self, job: TrainingJob, device: str) -> ExternalIteration:
        """An iteration on a device. Raises DeviceUnavailable."""
        return ExternalIteration(job.settings, device)


class ExternalEvent(NamedTuple):
    """Something that happened to the engine."""

    time: float
    kind: str
    text: str


class Played(NamedTuple):
    """How far a turn of play has come."""

    games: int
    wanted: int | None = None


class ExternalArm:
    """The engine on one device. It plays in its turns only: between them its processes stand still.

    Windows begin and end at moments at which games finish, and so do blocks: what is counted is
    whole games in the time that they took, also of an engine that plays in waves.
    """

    dtype = None

    def __init__(self, settings: Settings, device: str, needed: list[str]) -> None:
        """`needed` are the methods that the engine must have. Raises DeviceUnavailable."""
        worker_devices(device, 1)
        self.settings, self.device = settings, device
        self.windows: list[tuple[float, float]] = []
        self.warm_up_seconds = self.first_game_seconds = 0.0
        self.at_work = False
        self.events: list[ExternalEvent] = []
        self.steps: list[tuple[float, int]] = []
        """(monotonic seconds, examples) of each training step."""
        self._needed = needed
        self._finished: list[tuple[float, int]] = []
        """(monotonic seconds, games) of each moment at which games finished."""
        self._evaluations = ThreadLog()
        self._told: int | None = None
        """Evaluations, as the engine last counted them itself."""
        self._looked = 0.0
        self._counts = ForwardCounts()
        self._claims: dict[int, list[str]] = {}
        """What the engine itself says: devices by PID."""
        self._process: EngineProcess | None = None

    def start(self, watch: Watch) -> None:
        """Start its process and make the engine. Raises UserError where it cannot be made."""
        self._watch, self._watched = watch, set[int]()
        assert self.settings.engine is not None
        self._process = EngineProcess(
            self.settings.engine, self._arguments(), self._needed, self._counts.environment()
        )
        self._receive("was not made")
        self._process.suspend()

    def _arguments(self) -> dict[str, Any]:
        """What the factory is offered; what an option gives it must take."""
        settings = self.settings
        offered = {"device": self.device, "seed": settings.seed}
        offered |= settings.for_factory
        needed = {"device", *settings.given}
        return {n: {"value": value, "must": n in needed} for n, value in offered.items()}

    def close(self) -> None:
        """End the engine and all that it has started."""
        self.at_work = False
        if self._process is not None:
            self._process.close()
        self._counts.close()
        self.events += [
            ExternalEvent(monotonic(), "not-counted", why) for why in self._counts.reasons
        ]

    # -- measuring ----------------------------------------------------------------------------

    def warm_up(self, on_progress: OnProgress) -> None:
        """Play until a game has finished, and for WARM_UP_SECONDS at least."""
        with self._turn("play") as start:
            end = self._play(start, WARM_UP_SECONDS, 1, on_progress)
        self.warm_up_seconds = end - start

    def measure(self, seconds: float, games: int, on_progress: OnProgress) -> None:
        """Add a window: play on until both are reached, and for as long as the first game took.

        Games that began together finish together: a shorter window could count all of them, or
        none.
        """
        with self._turn() as start:
            self._counts.begin()
            self._log_evaluations(start)
            try:
                self._play(start, max(seconds, self.first_game_seconds), games, on_progress)
            finally:
                # An interrupt ends the window, not what it held.
                end = self._finished[-1][0] if self._finished else start
                if end > start:
                    self.windows.append((start, end))
                    self._log_evaluations(end)
                self._counts.end()

    def train(self, on_step: OnStep) -> float:
        """Have it train once; the seconds it took. Raises EngineFailed."""
        with self._turn("train") as start:
            while True:
                kind, *told = self._receive("took no training step")
                if kind == "done":
                    break
                if kind == "trained":
                    self.steps.append((told[0], told[1]))
                    on_step(len(self.steps), None)
        if not sum(examples for _, examples in self.steps):
            raise EngineFailed("the engine failed: train() told of no example that it trained on")
        return self.steps[-1][0] - start

    @contextmanager
    def _turn(self, order: str | None = None) -> Iterator[float]:
        """Let the engine go on meanwhile; when that was, in monotonic seconds."""
        assert self._process is not None
        if order is not None:
            self._process.send(order)
        start, self.at_work = monotonic(), True
        self._process.resume()
        try:
            yield start
        finally:
            self.at_work = False
            self._process.suspend()

    def _play(self, start: float, seconds: float, games: int, on_progress: OnProgress) -> float:
        """Take in what finishes, until both are reached; when that was."""
        done = 0
        while True:
            kind, *told = self._receive("finished no game")
            if kind == "workers":
                self._claims = told[0] or {}
            if kind != "finished" or told[0] <= start:
                continue
            time, finished, evaluations = told
            self._finished.append((time, finished))
            done += finished
            # To look into its processes costs more than to be told.
            if evaluations is not None or time - self._looked >= BLOCK_SECONDS / 2:
                self._told, self._looked = evaluations, time
                self._log_evaluations(time)
            if done and not self.first_game_seconds:
                self.first_game_seconds = time - start
            on_progress(Played(done))
            if done >= games and time - start >= seconds:
                return float(time)

    def _log_evaluations(self, time: float) -> None:
        """By the engine's own count, else by what its networks were given."""
        count = self._told if self._told is not None else self._counts.rows_so_far()
        if count is not None:
            self._evaluations.times.append(time)
            self._evaluations.evaluations.append(count)

    def _receive(self, what: str) -> tuple[Any, ...]:
        """The engine's next message. Raises EngineFailed, and leaves an event that says more."""
        assert self._process is not None
        self._process.scan()
        new = self._process.seen.keys() - self._watched
        if new:
            self._watched |= new
            self._watch(new)
        try:
            return self._process.receive(self.settings.stall_seconds, what)
        except EngineFailed as error:
            self.events.append(
                ExternalEvent(monotonic(), "engine-failed", f"{error}\n{error.details}")
            )
            raise

    # -- results ------------------------------------------------------------------------------

    @property
    def states(self) -> Counter[str]:
        """Which of its processes are workers is not known."""
        return Counter()

    @property
    def other_pids(self) -> set[int]:
        """All its processes: none says which GPU it is on."""
        return set() if self._process is None else set(self._process.seen)

    @property
    def weights(self) -> tuple[None, None]:
        """Not known."""
        return None, None

    @property
    def games_in_all(self) -> int:
        """Since it was started."""
        return sum(games for _, games in self._finished)

    def blocks(self) -> list[Block]:
        """The windows, cut into blocks."""
        return [block for start, end in self.windows for block in self._blocks_of(start, end)]

    def _blocks_of(self, start: float, end: float) -> list[Block]:
        """[start, end] cut at moments at which games finished, into BLOCK_SECONDS or more."""
        cuts, games = [start], [0]
        for time, finished in self._finished:
            if start < time <= end:
                games[-1] += finished
                # What is left behind the last block would be too short.
                if time - cuts[-1] >= BLOCK_SECONDS and end - time >= BLOCK_SECONDS:
                    cuts.append(time)
                    games.append(0)
        cuts.append(end)
        done: list[int | None] = [None] * len(games)
        if self._evaluations.times:
            done = [round(n) for n in np.diff(self._evaluations.at(np.array(cuts)))]
        return [
            Block(seconds=seconds, evaluations=evaluations, games=count)
            for seconds, evaluations, count in zip(np.diff(cuts).tolist(), done, games, strict=True)
        ]

    def throughput(self) -> Throughput:
        """Games per minute, with interval, over all windows so far."""
        blocks = self.blocks()
        return Throughput(
            device=self.device,
            dtype=None,
            workers=len(self.workers()) or None,
            threads=None,
            lanes=None,
            games_per_minute=games_per_minute(blocks, None),
            evaluations_per_second=evaluations_per_second(blocks),
            mean_batch=self._counts.mean_batch,
            games=sum(block.games for block in blocks),
            window_seconds=sum(end - start for start, end in self.windows),
            warm_up_seconds=self.warm_up_seconds,
            blocks=blocks,
            games_counted=True,
            search_health=SearchHealth(
                distinct_share=None,
                deep_share=None,
                mean_kl_nats=None,
                evaluations_per_game=None,
                evaluations_per_decision=None,
                reason="another project's engine",
            ),
        )

    def workers(self) -> list[WorkerRecord]:
        """The processes that called a network, as counted there; else those the engine names."""
        counted = self._counts.workers(self.device)
        named = sorted(self._claims.keys() - {record.pid for record in counted})
        return counted + [self._named(n, pid) for n, pid in enumerate(named, len(counted))]

    def _named(self, number: int, pid: int) -> WorkerRecord:
        """A worker by what the engine says of it."""
        return WorkerRecord(
            worker=number,
            pid=pid,
            device_asked=self.device,
            parameter_devices=self._claims[pid],
            output_device=None,
            dtype=None,
            threads=None,
            intra_op_threads=None,
            weights_hash=None,
            games=None,
            evaluations=None,
            batches=None,
        )

    def watch_shares(self) -> list[float]:
        """Its stacks are not watched."""
        return []

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """Its network cannot be had."""
        return None

    def answers_differ(self) -> AnswersDifference | None:
        """Its network cannot be asked."""
        return None


class ExternalIteration:
    """A steady stretch of self-play, and one training on what was played."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.settings = settings
        self.arm = ExternalArm(settings, device, ["play", "train"])
        self._seconds: float | None = None
        """All of the training took; None until it has ended."""

    @property
    def at_work(self) -> bool:
        """It plays and trains in the same process."""
        return self.arm.at_work

    def run(self, stage: IterationStage) -> None:
        """Raises EngineFailed."""
        with stage.phase(WARM_UP):
            self.arm.warm_up(stage.show_games)
        with stage.phase(SELF_PLAY):
            self.arm.measure(self.settings.min_seconds, self.settings.games, stage.show_games)
        with stage.phase(TRAINING):
            self._seconds = self.arm.train(stage.show_steps)

    def figures(self, trace: Trace) -> list[Metric]:
        """Its rate of training, and counts; none where it did not come to its end."""
        if self._seconds is None:
            return []
        examples = [count for _, count in self.arm.steps]
        rate = training_rate([self.arm.steps], sum(examples) / self._seconds)
        return [rate, *self._facts(examples)]

    def training_run(self) -> None:
        """It is only measured."""

    def _facts(self, examples: Sequence[int]) -> list[Metric]:
        counted = [
            (GAMES_PLAYED, self.arm.games_in_all, "games"),
            (EXAMPLES_TRAINED, sum(examples), "examples"),
            ("training steps", len(examples), "steps"),
        ]
        return [Metric(name=n, value=float(v), unit=u, samples=1) for n, v, u in counted]
