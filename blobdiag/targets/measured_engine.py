"""The interface of a measured engine, the built-in one or another project's."""

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
"""`Session.phase`: called with a phase's name and, if it concerns one device, the device."""
OnStep = Callable[[int, int | None], None]
"""Called with the training steps done and their total; None: unknown."""
OnEvent = Callable[[str, str], None]
"""Called with an event's kind and its text."""
Watch = Callable[[Iterable[int]], None]
"""Called with PIDs of processes to sample."""


class PlayProgress(Protocol):
    """Progress of one call that plays games."""

    @property
    def games(self) -> int:
        """Games finished in this call."""

    @property
    def wanted(self) -> int | None:
        """Games asked for; None while a window is measured."""


OnProgress = Callable[[PlayProgress], None]


class TimedEvent(Protocol):
    """An event of an engine."""

    @property
    def time(self) -> float:
        """Monotonic seconds."""

    @property
    def kind(self) -> str: ...

    @property
    def text(self) -> str: ...


class Working(Protocol):
    """Something that uses the device at times: workers, or a trainer."""

    @property
    def at_work(self) -> bool:
        """Whether it may be using the device at this moment."""


class Probes(NamedTuple):
    """Measurements of an arm's network alone; the fields are named as in `Throughput`."""

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
    def events(self) -> Sequence[TimedEvent]: ...

    @property
    def states(self) -> Counter[str]:
        """Number of workers by state; empty if unknown."""

    @property
    def other_pids(self) -> set[int]:
        """PIDs of its processes that are not workers."""

    @property
    def weights(self) -> tuple[str | None, int | None]:
        """(hash of the weights that all workers should use, number of times they were replaced)."""

    def start(self, watch: Watch) -> None:
        """Start its processes, and pass their PIDs and those of later processes to `watch`."""

    def close(self) -> None:
        """End all its processes; their records remain available."""

    def warm_up(self, on_progress: OnProgress) -> None:
        """Play until the rate is steady."""

    def measure(self, seconds: float, games: int, on_progress: OnProgress) -> None:
        """Add a window: play until `seconds` and `games` are both reached."""

    def throughput(self) -> Throughput:
        """Games per minute, with interval, over all windows so far."""

    def workers(self) -> list[WorkerRecord]:
        """The records of all workers, including replaced ones."""

    def watch_shares(self) -> list[float]:
        """CPU share of each worker's stack watch, 0 to 1."""

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """Measure its network alone while its workers pause; None if that is not possible."""

    def answers_differ(self) -> AnswersDifference | None:
        """Difference of its answers from the CPU's in float32; None if they are not accessible."""


class IterationStage(Protocol):
    """The interface through which iterations record and show their progress: the session."""

    within: str
    """Suffix of the phase's name on the screen: ', iteration 2 of 5'."""

    @property
    def trace(self) -> Trace: ...

    def phase(self, name: str, device: str | None = None) -> AbstractContextManager[object]:
        """Mark a phase."""

    def event(self, kind: str, text: str) -> None: ...

    def show_games(self, progress: PlayProgress) -> None: ...

    def show_steps(self, done: int, wanted: int | None) -> None:
        """Show the training steps done and their total; None: unknown."""

    def show_matches(self, opponent: str, games: int, wanted: int) -> None:
        """Show the finished games of a match and their total."""

    def show_end(self, seconds: float | None) -> None:
        """Show the estimated seconds until the end; None: unknown."""


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
        """Play and train; the arm's windows are the stretches of steady play."""


class MeasuredEngine(Protocol):
    """The engine that a command measures."""

    @property
    def unseen(self) -> str | None:
        """Why its search and its network's answers cannot be judged; None if they can."""

    @property
    def proof_device(self) -> str | None:
        """A device that always exists, to test whether a device reaches the workers; None: none."""

    @property
    def memory(self) -> MemoryFigures | None:
        """Its memory sizes for the workload; None: unknown."""

    def prepare(self, phase: PhaseMarker) -> None:
        """One-time preparation before anything is measured."""

    def arm(self, settings: Settings, device: str) -> Arm:
        """Self-play on a device, not started. Raises DeviceUnavailable."""

    def iterations(self, job: TrainingJob, device: str) -> IterationRunner:
        """Iterations on a device, not started. Raises DeviceUnavailable."""
