"""Another project's engine (docs/own-engine.md) as a `MeasuredEngine`."""

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
from blobdiag.targets.external.engine_process import EngineFailed, EngineProcess
from blobdiag.targets.external.forward_counts import ForwardCounts
from blobdiag.targets.measured_engine import (
    IterationStage,
    OnEvent,
    OnProgress,
    OnStep,
    PhaseMarker,
    Probes,
    Watch,
)
from blobdiag.targets.thread_log import BLOCK_SECONDS, ThreadLog
from blobdiag.targets.training_rate import training_rate

WARM_UP_SECONDS = 2.0
"""Minimum seconds of play before a window; longer if no game has finished by then."""


class ExternalEngine:
    """The engine that `--engine MODULE:FACTORY` names."""

    proof_device = None
    memory = None

    def __init__(self, settings: Settings) -> None:
        self.unseen = f"the search of {settings.engine} is not seen from outside"

    def prepare(self, phase: PhaseMarker) -> None:
        """Nothing to do: the engine prepares itself when it is created."""

    def arm(self, settings: Settings, device: str) -> ExternalArm:
        """Self-play on a device. Raises DeviceUnavailable."""
        return ExternalArm(settings, device, ["play"])

    def iterations(self, job: TrainingJob, device: str) -> ExternalIteration:
        """An iteration on a device. Raises DeviceUnavailable."""
        return ExternalIteration(job.settings, device)


class ExternalEvent(NamedTuple):
    """An event of the engine; `time` in monotonic seconds."""

    time: float
    kind: str
    text: str


class GamesFinished(NamedTuple):
    """Progress of one call that plays games; see `PlayProgress`."""

    games: int
    wanted: int | None = None


class ExternalArm:
    """Self-play of the engine on one device; its processes are suspended between measurements.

    Windows and blocks begin and end when games finish, so that they hold whole games and the time
    these took, also for an engine that plays in waves.
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
        """(monotonic seconds, number of games) of each message about finished games."""
        self._evaluations = ThreadLog()
        self._reported_evaluations: int | None = None
        """The engine's own latest count of evaluations; None: it does not count them."""
        self._counted_at = 0.0
        """Monotonic seconds of the latest count of evaluations."""
        self._counts = ForwardCounts()
        self._reported_devices: dict[int, list[str]] = {}
        """Devices by PID, as the engine reports them."""
        self._process: EngineProcess | None = None

    def start(self, watch: Watch) -> None:
        """Start its process and create the engine. Raises UserError if it cannot be created."""
        self._watch, self._watched = watch, set[int]()
        assert self.settings.engine is not None
        self._process = EngineProcess(
            self.settings.engine, self._arguments(), self._needed, self._counts.environment()
        )
        self._receive("was not created")
        self._process.suspend()

    def _arguments(self) -> dict[str, Any]:
        """Arguments for the factory; "must": whether it has to accept the argument."""
        settings = self.settings
        offered = {"device": self.device, "seed": settings.seed}
        offered |= settings.for_factory
        needed = {"device", *settings.given}
        return {n: {"value": value, "must": n in needed} for n, value in offered.items()}

    def close(self) -> None:
        """End the engine and all processes that it has started."""
        self.at_work = False
        if self._process is not None:
            self._process.close()
        self._counts.close()
        self.events += [
            ExternalEvent(monotonic(), "not-counted", why) for why in self._counts.reasons
        ]

    # -- measuring ----------------------------------------------------------------------------

    def warm_up(self, on_progress: OnProgress) -> None:
        """Play until a game has finished, and for at least WARM_UP_SECONDS."""
        with self._turn("play") as start:
            end = self._play(start, WARM_UP_SECONDS, 1, on_progress)
        self.warm_up_seconds = end - start

    def measure(self, seconds: float, games: int, on_progress: OnProgress) -> None:
        """Add a window: play until `seconds` and `games` are reached, and as long as a first game.

        Games that start together finish together: a shorter window could hold all of them or none.
        """
        with self._turn() as start:
            self._counts.begin()
            self._log_evaluations(start)
            try:
                self._play(start, max(seconds, self.first_game_seconds), games, on_progress)
            finally:
                # Also after an interrupt: what was measured until then counts.
                end = self._finished[-1][0] if self._finished else start
                if end > start:
                    self.windows.append((start, end))
                    self._log_evaluations(end)
                self._counts.end()

    def train(self, on_step: OnStep) -> float:
        """Run one training and return its seconds. Raises EngineFailed."""
        with self._turn("train") as start:
            while True:
                kind, *values = self._receive("took no training step")
                if kind == "done":
                    break
                if kind == "trained":
                    self.steps.append((values[0], values[1]))
                    on_step(len(self.steps), None)
        if not sum(examples for _, examples in self.steps):
            raise EngineFailed("the engine failed: train() reported no examples")
        return self.steps[-1][0] - start

    @contextmanager
    def _turn(self, order: str | None = None) -> Iterator[float]:
        """Send `order`, let the engine run inside; yields the start in monotonic seconds."""
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
        """Record finished games until `seconds` and `games` are reached; returns the end time."""
        done = 0
        while True:
            kind, *values = self._receive("finished no game")
            if kind == "workers":
                self._reported_devices = values[0] or {}
            if kind != "finished" or values[0] <= start:
                continue
            time, finished, evaluations = values
            self._finished.append((time, finished))
            done += finished
            # Reading the counters of its processes is slow.
            if evaluations is not None or time - self._counted_at >= BLOCK_SECONDS / 2:
                self._reported_evaluations, self._counted_at = evaluations, time
                self._log_evaluations(time)
            if done and not self.first_game_seconds:
                self.first_game_seconds = time - start
            on_progress(GamesFinished(done))
            if done >= games and time - start >= seconds:
                return float(time)

    def _log_evaluations(self, time: float) -> None:
        """Log the evaluations by the engine's count, else by the rows its networks received."""
        count = self._reported_evaluations
        if count is None:
            count = self._counts.rows_so_far()
        if count is not None:
            self._evaluations.times.append(time)
            self._evaluations.evaluations.append(count)

    def _receive(self, what: str) -> tuple[Any, ...]:
        """The engine's next message. Raises EngineFailed, after recording an event with details."""
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
        """Empty: it is unknown which of its processes are workers."""
        return Counter()

    @property
    def other_pids(self) -> set[int]:
        """PIDs of all its processes: none reports which GPU it uses."""
        return set() if self._process is None else set(self._process.seen)

    @property
    def weights(self) -> tuple[None, None]:
        """Unknown."""
        return None, None

    @property
    def games_in_all(self) -> int:
        """Number of games finished since the start."""
        return sum(games for _, games in self._finished)

    def blocks(self) -> list[Block]:
        """The windows, cut into blocks."""
        return [block for start, end in self.windows for block in self._blocks_of(start, end)]

    def _blocks_of(self, start: float, end: float) -> list[Block]:
        """[start, end] (monotonic seconds), cut at finished games, at least BLOCK_SECONDS each."""
        cuts, games = [start], [0]
        for time, finished in self._finished:
            if start < time <= end:
                games[-1] += finished
                # Do not cut if the rest of the window would be too short.
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
        """Processes in which network calls were counted, then others that the engine reports."""
        counted = self._counts.workers(self.device)
        named = sorted(self._reported_devices.keys() - {record.pid for record in counted})
        return counted + [self._named(n, pid) for n, pid in enumerate(named, len(counted))]

    def _named(self, number: int, pid: int) -> WorkerRecord:
        """The record of a worker that only the engine reports."""
        return WorkerRecord(
            worker=number,
            pid=pid,
            device_asked=self.device,
            parameter_devices=self._reported_devices[pid],
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
        """Empty: its stacks are not watched."""
        return []

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """None: its network is not accessible."""
        return None

    def answers_differ(self) -> AnswersDifference | None:
        """None: its network is not accessible."""
        return None


class ExternalIteration:
    """A steady stretch of self-play, and one training on its games."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.settings = settings
        self.arm = ExternalArm(settings, device, ["play", "train"])
        self._seconds: float | None = None
        """Duration of the training; None until it has ended."""

    @property
    def at_work(self) -> bool:
        """Whether the engine is running: it plays and trains in the same process."""
        return self.arm.at_work

    def run(self, stage: IterationStage) -> None:
        """Warm up, play a window and train. Raises EngineFailed."""
        with stage.phase(WARM_UP):
            self.arm.warm_up(stage.show_games)
        with stage.phase(SELF_PLAY):
            self.arm.measure(self.settings.min_seconds, self.settings.games, stage.show_games)
        with stage.phase(TRAINING):
            self._seconds = self.arm.train(stage.show_steps)

    def figures(self, trace: Trace) -> list[Metric]:
        """The rate of training and counts; empty if the training did not end."""
        if self._seconds is None:
            return []
        examples = [count for _, count in self.arm.steps]
        rate = training_rate([self.arm.steps], sum(examples) / self._seconds)
        return [rate, *self._facts(examples)]

    def training_run(self) -> None:
        """None: the iteration is only measured."""

    def _facts(self, examples: Sequence[int]) -> list[Metric]:
        counted = [
            (GAMES_PLAYED, self.arm.games_in_all, "games"),
            (EXAMPLES_TRAINED, sum(examples), "examples"),
            ("training steps", len(examples), "steps"),
        ]
        return [Metric(name=n, value=float(v), unit=u, samples=1) for n, v, u in counted]
