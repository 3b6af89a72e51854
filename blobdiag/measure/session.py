"""One run of a measuring command on an engine: its arms, phases and progress."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from blobdiag.measure.interrupts import lift_time_limit, time_limit
from blobdiag.measure.measurement import Measurement
from blobdiag.measure.recording import Recording
from blobdiag.measure.screen import Screen
from blobdiag.model.judgement import Verification
from blobdiag.model.masking import mask_values
from blobdiag.model.selfplay import AnswersDifference
from blobdiag.model.settings import Settings
from blobdiag.model.training import Match
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.trace import Span, Trace
from blobdiag.targets.builtin.stacks import StackWatch
from blobdiag.targets.measured_engine import (
    Arm,
    IterationOutcome,
    MeasuredEngine,
    PlayProgress,
    Probes,
    Working,
)


class Session:
    """A measurement in progress and its results so far."""

    def __init__(
        self,
        measurement: Measurement,
        settings: Settings,
        engine: MeasuredEngine,
        screen: Callable[[Session], Screen],
    ) -> None:
        """`settings` are the measurement's settings with the tuned ones filled in."""
        self.device, self.engine = measurement.device, engine
        self.as_asked, self.settings = measurement.settings, settings
        self.pid = os.getpid()
        self.trace = Trace()
        self.recording = Recording(
            measurement.command,
            measurement.device,
            mask_values(settings.for_report()),
            settings.label,
            self.trace,
            Recorder(self.trace),
        )
        self.screen = screen(self)
        self.arms: list[Arm] = []
        self.within = ""
        """Suffix of the phase's name on the screen: ', iteration 2 of 5'."""
        self.probes: dict[str, Probes] = {}
        """Measurements of the network alone, by device."""
        self.at_work: list[Working] = []
        """All that may use the device; while one does, this process does not keep it waiting."""
        self.watch = StackWatch(self._watched_threads)
        self.answers: AnswersDifference | None = None
        self.runner: IterationOutcome | None = None
        self.matches: Callable[[], list[Match]] = list
        """Returns the matches played so far."""
        self.verification: Verification | None = None
        self.failure: str | None = None
        """Why the measurement failed: device unavailable, workers failed, …; None: it did not."""

    @property
    def recorder(self) -> Recorder:
        return self.recording.recorder

    @contextmanager
    def phase(self, name: str, device: str | None = None) -> Iterator[Span]:
        """Mark a phase in the trace and show it."""
        self.screen.phase((name if device is None else f"{name} on {device}") + self.within)
        with self.trace.phase(name, device) as span:
            yield span

    def event(self, kind: str, text: str) -> None:
        """Record an event at the current time."""
        self.recording.event(kind, text)

    @contextmanager
    def time_left(self) -> Iterator[None]:
        """Apply the rest of --timeout inside, after the end of an arm has cancelled it."""
        limit = self.settings.timeout
        spent = monotonic() - self.trace.start
        with time_limit(None if limit is None else max(1e-3, limit - spent)):
            yield

    @contextmanager
    def playing(self, arm: Arm) -> Iterator[Arm]:
        """Start an arm's workers, sample them, and end them on exit, also after an exception."""
        self.arms.append(arm)
        self.at_work.append(arm)
        try:
            with self.phase("start-up", arm.device):
                arm.start(self.recorder.watch)
            yield arm
        finally:
            # The shutdown must be complete, also after an interrupt.
            lift_time_limit()
            with self.phase("shut-down", arm.device):
                arm.close()

    def _watched_threads(self) -> list[tuple[int, str]]:
        """(thread id, current phase) of the main thread; empty while the device is in use."""
        if any(worker.at_work for worker in self.at_work) or not self.trace.spans:
            return []
        return [(threading.main_thread().ident or 0, self.trace.spans[-1].name)]

    def show_games(self, progress: PlayProgress) -> None:
        """Progress callback: games of the current phase."""
        self.screen.progress(progress.games, progress.wanted, "games")

    def show_steps(self, done: int, wanted: int | None) -> None:
        """Progress callback: training steps."""
        self.screen.progress(done, wanted, "steps")

    def show_matches(self, opponent: str, games: int, wanted: int) -> None:
        """Progress callback: games of a match."""
        self.screen.progress(games, wanted, "games", against=opponent)

    def show_end(self, seconds: float | None) -> None:
        """Show the estimated seconds until the end of the measurement; None: unknown."""
        self.screen.ends_at = None if seconds is None else monotonic() + seconds

    def probe(self, arm: Arm) -> None:
        """Measure an arm's network alone, if the engine allows it."""
        probes = arm.probe(self.phase, self.event)
        if probes is not None:
            self.probes[arm.device] = probes

    def window(self, arm: Arm, seconds: float, games: int) -> None:
        """Measure a window of at least `seconds` and `games` of an arm, and show its progress."""
        arm.measure(
            seconds, games, lambda p: self.screen.progress(p.games, games, "games", seconds)
        )

    @property
    def worker_states(self) -> Counter[str]:
        """Number of workers by state, all arms together."""
        return sum((arm.states for arm in self.arms), Counter[str]())

    def stop(self) -> None:
        """Stop the sampler and the stack watch."""
        self.watch.stop()
        self.recorder.stop()
