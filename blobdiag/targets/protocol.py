"""What a measurement asks of an engine, the built-in one or another project's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from blobdiag.model.base import Metric
from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.selfplay import (
    AnswersDifference,
    NetworkRate,
    PrecisionProbe,
    Throughput,
    WorkerRecord,
)
from blobdiag.model.settings import Settings
from blobdiag.model.training import TrainingRun
from blobdiag.sampling.trace import Trace
from blobdiag.targets.builtin.run_folder import TrainingJob

PhaseMarker = Callable[..., AbstractContextManager[object]]
"""`Session.phase`: called with a phase's name and its device, if it is of one device."""
OnStep = Callable[[int, int | None], None]
"""Called with the training steps done, and how many there will be; None: not known."""
OnEvent = Callable[[str, str], None]
"""Called with an event's kind and its text."""
Watch = Callable[[Iterable[int]], None]
"""Has these processes sampled, by their PIDs."""


class PlayProgress(Protocol):
    """How far a turn of play has come."""

    @property
    def games(self) -> int:
        """Games finished in it."""

    @property
    def wanted(self) -> int | None:
        """Games asked for; None while a window is measured."""


OnProgress = Callable[[PlayProgress], None]


class Happened(Protocol):
    """Something that happened to an engine."""

    @property
    def time(self) -> float:
        """Monotonic seconds."""

    @property
    def kind(self) -> str: ...

    @property
    def text(self) -> str: ...


class Working(Protocol):
    """Workers, or a trainer."""

    @property
    def at_work(self) -> bool:
        """Whether they may have the device busy at this moment."""


class Probes(NamedTuple):
    """What an arm's network does without a search; the names are those of `Throughput`."""

    bare_network: list[NetworkRate]
    precision: PrecisionProbe | None


class Arm(Working, Protocol):
    """Self-play on one device, measured in windows ([start, end] in monotonic seconds)."""

    @property
    def device(self) -> str: ...

    @property
    def dtype(self) -> str | None: ...

    @property
    def windows(self) -> Sequence[tuple[float, float]]: ...

    @property
    def events(self) -> Sequence[Happened]: ...

    @property
    def states(self) -> Counter[str]:
        """How many workers there are of each state; empty where that is not known."""

    @property
    def other_pids(self) -> set[int]:
        """Its processes that are none of its workers."""

    @property
    def weights(self) -> tuple[str | None, int | None]:
        """Hash of the weights all should play with, and how often they were replaced."""

    def start(self, watch: Watch) -> None:
        """Start its processes and have them sampled; those that come later too."""

    def close(self) -> None:
        """End all its processes; what is known of them stays."""

    def warm_up(self, on_progress: OnProgress) -> None:
        """Play until the rate is that of steady play."""

    def measure(self, seconds: float, games: int, on_progress: OnProgress) -> None:
        """Add a window: play on until both are reached."""

    def throughput(self) -> Throughput:
        """Games per minute, with interval, over all windows so far."""

    def workers(self) -> list[WorkerRecord]:
        """What each worker process there ever was said of itself."""

    def watch_shares(self) -> list[float]:
        """What watching its own stacks has cost each worker, as a share of its time."""

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """Measure its network alone while its workers pause; None where that cannot be."""

    def answers_differ(self) -> AnswersDifference | None:
        """Its answers beside the CPU's in float32; None where they cannot be had."""


class IterationStage(Protocol):
    """Where iterations show and record what they do: the command's session."""

    within: str
    """What a phase is shown to be part of."""

    @property
    def trace(self) -> Trace: ...

    def phase(self, name: str, device: str | None = None) -> AbstractContextManager[object]:
        """Mark a phase."""

    def event(self, kind: str, text: str) -> None: ...

    def show_games(self, progress: PlayProgress) -> None: ...

    def show_steps(self, done: int, wanted: int | None) -> None:
        """Training steps done, and how many there will be; None: not known."""

    def show_matches(self, opponent: str, games: int, wanted: int) -> None:
        """Games of a match that have ended, and how many there are."""

    def show_end(self, seconds: float | None) -> None:
        """How long all of it will still take; None: not known."""


class IterationOutcome(Protocol):
    """What iterations of self-play and training came to, as far as they have come."""

    def figures(self, trace: Trace) -> list[Metric]:
        """Rates and counts of the iterations that came to their end; none where none did."""

    def training_run(self) -> TrainingRun | None:
        """The training so far; None where an iteration was only measured."""


class IterationRunner(IterationOutcome, Working, Protocol):
    """Iterations of self-play and training, made ready; at work while it trains."""

    @property
    def arm(self) -> Arm: ...

    def run(self, stage: IterationStage) -> None:
        """Play, with windows of steady play in it, and train."""


class MeasuredEngine(Protocol):
    """The engine that a command measures."""

    @property
    def unseen(self) -> str | None:
        """Why its search and its network's answers cannot be judged; None: they can."""

    @property
    def proof_device(self) -> str | None:
        """A device that is always there, for whether a device reaches the workers at all."""

    @property
    def memory(self) -> MemoryFigures | None:
        """Its sizes for the workload; None: not known."""

    def prepare(self, phase: PhaseMarker) -> None:
        """What is done once, before anything is measured."""

    def arm(self, settings: Settings, device: str) -> Arm:
        """Self-play on a device, not started yet. Raises DeviceUnavailable."""

    def iterations(self, job: TrainingJob, device: str) -> IterationRunner:
        """Iterations on a device, not started yet. Raises DeviceUnavailable."""
