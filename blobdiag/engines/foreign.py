"""Another project's engine, behind the Protocol that README describes, as the commands see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING
from blobdiag.diagnosis.rates import EXAMPLES_TRAINED, GAMES_PLAYED
from blobdiag.diagnosis.statistics import evaluations_per_second, games_per_minute
from blobdiag.engines.process import EngineFailed, EngineProcess
from blobdiag.engines.protocol import OnEvent, OnProgress, OnStep, PhaseMarker, Probes, Watch
from blobdiag.engines.training import training_rate
from blobdiag.reporting.model import Block, Metric, SearchHealth, Throughput, WorkerRecord
from blobdiag.settings import FOR_THE_FACTORY, Settings
from blobdiag.workload import BLOCK_SECONDS
from engine.devices import worker_devices
from engine.precision import Difference

WARM_UP = "warm-up"
WARM_UP_SECONDS = 2.0
"""Of play, at least, before a window; longer where no game has finished by then."""


class Foreign:
    """The engine that `--engine MODULE:FACTORY` names."""

    proof_device = None

    def __init__(self, settings: Settings) -> None:
        self.unseen = f"the search of {settings.engine} is not seen from outside"

    def prepare(self, phase: PhaseMarker) -> None:
        """Nothing: what the engine needs it does when it is made."""

    def arm(self, settings: Settings, device: str) -> ForeignArm:
        """Self-play on a device. Raises DeviceUnavailable."""
        return ForeignArm(settings, device, ["play"])

    def iteration(self, settings: Settings, device: str) -> ForeignIteration:
        """An iteration on a device. Raises DeviceUnavailable."""
        return ForeignIteration(settings, device)


class Finished(NamedTuple):
    """A moment at which games finished."""

    time: float
    """Monotonic seconds."""
    games: int
    evaluations: int | None
    """So far; None: the engine does not count them."""


class Event(NamedTuple):
    """Something that happened to the engine."""

    time: float
    kind: str
    text: str


class Played(NamedTuple):
    """How far a turn of play has come."""

    games: int
    wanted: int | None = None


class ForeignArm:
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
        self.events: list[Event] = []
        self.steps: list[tuple[float, int]] = []
        """(monotonic seconds, examples) of each training step."""
        self._needed = needed
        self._finished: list[Finished] = []
        self._devices: dict[int, list[str]] = {}
        self._process: EngineProcess | None = None

    def start(self, watch: Watch) -> None:
        """Start its process and make the engine. Raises UserError where it cannot be made."""
        self._watch, self._watched = watch, set[int]()
        assert self.settings.engine is not None
        self._process = EngineProcess(self.settings.engine, self._arguments(), self._needed)
        self._receive("was not made")
        self._process.hold()

    def _arguments(self) -> dict[str, Any]:
        """What the factory is offered; what an option gives it must take."""
        given = {
            name: getattr(self.settings, name) for name in ("device", "seed", *FOR_THE_FACTORY)
        }
        given["device"] = self.device
        return {
            name: {"value": value, "must": name in self.settings.given or name == "device"}
            for name, value in given.items()
            if name in ("device", "seed") or name in self.settings.given
        }

    def close(self) -> None:
        """End the engine and all that it has started."""
        self.at_work = False
        if self._process is not None:
            self._process.end()

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
            try:
                self._play(start, max(seconds, self.first_game_seconds), games, on_progress)
            finally:
                # An interrupt ends the window, not what it held.
                end = self._finished[-1].time if self._finished else start
                if end > start:
                    self.windows.append((start, end))

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
        self._process.let_go()
        try:
            yield start
        finally:
            self.at_work = False
            self._process.hold()

    def _play(self, start: float, seconds: float, games: int, on_progress: OnProgress) -> float:
        """Take in what finishes, until both are reached; when that was."""
        done = 0
        while True:
            kind, *told = self._receive("finished no game")
            if kind == "workers":
                self._devices = told[0] or {}
            if kind != "finished" or told[0] <= start:
                continue
            self._finished.append(Finished(*told))
            done += told[1]
            if done and not self.first_game_seconds:
                self.first_game_seconds = told[0] - start
            on_progress(Played(done))
            if done >= games and told[0] - start >= seconds:
                return float(told[0])

    def _receive(self, what: str) -> tuple[Any, ...]:
        """The engine's next message. Raises EngineFailed, and leaves an event that says more."""
        assert self._process is not None
        self._process.scan()
        new = self._process.seen.keys() - self._watched
        if new:
            self._watched |= new
            self._watch(dict.fromkeys(new, "engine"))
        try:
            return self._process.receive(self.settings.stall_seconds, what)
        except EngineFailed as error:
            self.events.append(Event(monotonic(), "engine-failed", f"{error}\n{error.details}"))
            raise

    # -- results ------------------------------------------------------------------------------

    @property
    def states(self) -> Counter[str]:
        """Which of its processes are workers is not known."""
        return Counter()

    @property
    def other_pids(self) -> set[int]:
        """Every process of the engine that it did not call a worker."""
        seen = set() if self._process is None else set(self._process.seen)
        return seen - self._devices.keys()

    @property
    def weights(self) -> tuple[None, None]:
        """Not known."""
        return None, None

    @property
    def window_seconds(self) -> float:
        return sum(end - start for start, end in self.windows)

    @property
    def games_finished(self) -> int:
        """Within the windows."""
        return sum(block.games for block in self.blocks())

    @property
    def games_in_all(self) -> int:
        """Since it was started."""
        return sum(one.games for one in self._finished)

    @property
    def rate(self) -> Metric:
        """Games per minute over the windows."""
        return games_per_minute(self.blocks(), None)

    def blocks(self) -> list[Block]:
        """The windows, cut into blocks."""
        return [block for start, end in self.windows for block in self._blocks_of(start, end)]

    def _blocks_of(self, start: float, end: float) -> list[Block]:
        """[start, end] cut at moments at which games finished, into BLOCK_SECONDS or more."""
        before = [one.evaluations for one in self._finished if one.time <= start]
        counted = before[-1] if before else 0
        blocks: list[Block] = []
        games = 0
        for one in self._finished:
            if not start < one.time <= end:
                continue
            games += one.games
            # What is left behind the last block would be too short.
            last = one.time == end
            if (one.time - start >= BLOCK_SECONDS and end - one.time >= BLOCK_SECONDS) or last:
                done = one.evaluations
                new = None if done is None or counted is None else done - counted
                blocks.append(Block(seconds=one.time - start, evaluations=new, games=games))
                start, games, counted = one.time, 0, done
        return blocks

    def throughput(self) -> Throughput:
        """Games per minute, with interval, over all windows so far."""
        blocks = self.blocks()
        return Throughput(
            device=self.device,
            dtype=None,
            workers=len(self._devices) or None,
            threads=None,
            lanes=None,
            games_per_minute=games_per_minute(blocks, None),
            evaluations_per_second=evaluations_per_second(blocks),
            mean_batch=None,
            games=self.games_finished,
            window_seconds=self.window_seconds,
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
        """What the engine says of its workers: their devices."""
        return [
            WorkerRecord(
                worker=number,
                pid=pid,
                device_asked=self.device,
                parameter_devices=devices,
                output_device=None,
                dtype=None,
                threads=None,
                intra_op_threads=None,
                weights_hash=None,
                games=None,
                evaluations=None,
                batches=None,
            )
            for number, (pid, devices) in enumerate(sorted(self._devices.items()))
        ]

    def watch_shares(self) -> list[float]:
        """Its stacks are not watched."""
        return []

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """Its network cannot be had."""
        return None

    def outputs_differ(self) -> Difference | None:
        """Its network cannot be asked."""
        return None


class ForeignIteration:
    """A steady stretch of self-play, and one training on what was played."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.settings = settings
        self.arm = ForeignArm(settings, device, ["play", "train"])

    @property
    def trainer(self) -> ForeignArm:
        """The same process."""
        return self.arm

    def run(self, phase: PhaseMarker, on_progress: OnProgress, on_step: OnStep) -> list[Metric]:
        """Raises EngineFailed."""
        with phase(WARM_UP):
            self.arm.warm_up(on_progress)
        with phase(SELF_PLAY):
            self.arm.measure(self.settings.min_seconds, self.settings.games, on_progress)
        with phase(TRAINING):
            seconds = self.arm.train(on_step)
        ends, examples = zip(*self.arm.steps, strict=True)
        return [training_rate(ends, examples, sum(examples) / seconds), *self._facts(examples)]

    def _facts(self, examples: Sequence[int]) -> list[Metric]:
        counted = [
            (GAMES_PLAYED, self.arm.games_in_all, "games"),
            (EXAMPLES_TRAINED, sum(examples), "examples"),
            ("training steps", len(examples), "steps"),
        ]
        return [Metric(name=n, value=float(v), unit=u, samples=1) for n, v, u in counted]
