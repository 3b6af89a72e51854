"""Self-play of the built-in engine on one device, measured in windows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import compress
from time import monotonic

import numpy as np
import torch

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.faults import dose_or_default, parse
from blobdiag.model.names import BARE_NETWORK
from blobdiag.model.selfplay import AnswersDifference, Block, Throughput, WorkerRecord
from blobdiag.model.settings import Settings
from blobdiag.model.statistics import evaluations_per_second, games_per_minute
from blobdiag.sampling.machine import usable_cores
from blobdiag.targets.builtin.probing import probe
from blobdiag.targets.builtin.records import search_health, worker_record
from blobdiag.targets.measured_engine import OnEvent, OnProgress, PhaseMarker, Probes, Watch
from blobdiag.targets.thread_log import BLOCK_SECONDS, ThreadLog
from engine.game.encoding import ActionMasker, StateEncoder
from engine.network.blobnet import BlobNet, InferenceNet
from engine.network.devices import worker_devices
from engine.network.precision import choose_dtype, difference, probe_states
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import HEALTHY, PRECISION, Injection
from engine.selfplay.pool import WorkerFailed
from engine.selfplay.telemetry import EngineEvent, Progress, subtract_tallies, sum_tallies
from engine.selfplay.worker_messages import ThreadProgress

PROBE_POSITIONS = 1024
"""Number of positions on which the answers of two devices are compared."""


def injection_of(settings: Settings) -> Injection:
    """The fault of `--inject`, with its default dose if none is given; HEALTHY without a fault."""
    if settings.inject is None:
        return HEALTHY
    fault, dose = parse(settings.inject)
    return Injection(fault.name, dose_or_default(fault, dose, usable_cores()))


class BuiltInArm:
    """Self-play on one device; see `blobdiag.targets.measured_engine.Arm`."""

    def __init__(self, settings: Settings, network: BlobNet, device: str) -> None:
        """Raises DeviceUnavailable if the device is absent."""
        worker_devices(device, 1)  # raises before anything is built for an absent device
        self.settings, self.network, self.device = settings, network, device
        self.trained = settings.checkpoint is not None
        injection = injection_of(settings)
        dtype = "float32" if injection.name == PRECISION else settings.dtype
        if dtype == "auto":
            dtype = choose_dtype(network, injection.device(device))
        self.dtype = dtype
        self.engine = SelfPlayEngine(
            network,
            StateEncoder(),
            ActionMasker(),
            num_workers=settings.workers,
            num_determinizations=settings.determinizations,
            simulations_per_determinization=settings.simulations,
            device=device,
            threads=settings.threads,
            lanes=settings.lanes,
            dtype=dtype,
            seed=settings.seed,
            stall_seconds=settings.stall_seconds,
            injection=injection,
            cores=usable_cores(),
        )
        self.windows: list[tuple[float, float]] = []
        self.warm_up_seconds = 0.0
        self._logs: dict[tuple[int, int], ThreadLog] = defaultdict(ThreadLog)
        self._tallies: list[np.ndarray] = []
        self._finished: list[tuple[float, int]] = []

    def start(self, watch: Watch) -> None:
        """Start the workers and pass their PIDs to `watch`. Raises WorkerFailed."""
        handshakes = self.engine.start(refuse_mismatch=False)
        watch(h.pid for h in handshakes)

    def close(self) -> None:
        """End the workers; their records remain available."""
        self.engine.close()

    # -- measuring ----------------------------------------------------------------------------

    def warm_up(self, on_progress: OnProgress) -> None:
        """Play until every lane has finished a game."""
        start = monotonic()
        self._play(lambda progress: progress.lanes_settled, on_progress)
        self.warm_up_seconds = monotonic() - start

    def measure(self, seconds: float, games: int, on_progress: OnProgress) -> None:
        """Add a window: play until `seconds` and `games` are both reached."""
        start = end = monotonic()
        gap_due = self.engine.injection.has_gap

        def enough(progress: Progress) -> bool:
            nonlocal end, gap_due
            # Work after this time, until the last lane pauses, is outside the window.
            end = progress.time
            if gap_due and end - start >= seconds / 2:
                gap_due = False
                self.engine.stand_still()
            return progress.games >= games and end - start >= seconds

        before = self.engine.tally
        try:
            self._play(enough, on_progress)
        finally:
            # Also after an interrupt: what was measured until then counts.
            if end > start:
                self.add_window(start, end, subtract_tallies(self.engine.tally, before))

    def add_window(self, start: float, end: float, tally: np.ndarray) -> None:
        """Add [start, end] (monotonic seconds) as a window; `tally` [] holds its work."""
        self.windows.append((start, end))
        self._tallies.append(tally)

    def forget(self, before: float) -> None:
        """Drop the windows and counters that ended before `before` (monotonic seconds)."""
        recent = [end > before for _, end in self.windows]
        self.windows = list(compress(self.windows, recent))
        self._tallies = list(compress(self._tallies, recent))
        self._finished = [game for game in self._finished if game[0] >= before]
        for log in self._logs.values():
            log.forget(before)

    def _play(self, enough: Callable[[Progress], bool], on_progress: OnProgress) -> None:
        settings = self.settings
        self.engine.play_until(
            enough,
            settings.players,
            settings.cards,
            on_progress,
            self.on_message,
        )

    def on_message(self, message: ThreadProgress) -> None:
        """Store a search thread's counters and the lengths of the games it finished."""
        log = self._logs[message.pid, message.thread]
        log.times.append(message.time)
        log.evaluations.append(int(message.tally["evaluations"]))
        self._finished += [(message.time, evaluations) for _, evaluations in message.finished]

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """Measure the network alone while workers pause; None, and an event, if a worker fails."""
        with phase(BARE_NETWORK, self.device):
            try:
                return probe(self)
            except WorkerFailed as error:
                event("not-measured", f"the network alone: {error}")
                return None

    def answers_differ(self) -> AnswersDifference:
        """Largest difference between the CPU's float32 answers and the device's own."""
        plain = BlobNet(self.network.embedding.in_features, *self.network.config)
        plain.load_state_dict(self.network.state_dict())
        exact = InferenceNet(plain.eval())
        other = InferenceNet(plain).to(self.device, getattr(torch, self.dtype))
        states = probe_states(PROBE_POSITIONS, self.settings.players, self.settings.cards)
        seen = difference(exact, other, states)
        return AnswersDifference(policy=seen.policy, value=seen.value, dtype=self.dtype)

    # -- results ------------------------------------------------------------------------------

    @property
    def at_work(self) -> bool:
        return self.engine.pool.at_work

    @property
    def events(self) -> list[EngineEvent]:
        return self.engine.pool.events

    @property
    def states(self) -> Counter[str]:
        """Number of workers by state."""
        return Counter(status.state for status in self.engine.pool.statuses)

    @property
    def other_pids(self) -> set[int]:
        """Empty: the engine has no processes but its workers."""
        return set()

    @property
    def weights(self) -> tuple[str | None, int | None]:
        """(hash of the weights that all workers should use, number of times they were replaced)."""
        return self.engine.pool.weights_hash, self.engine.pool.weights_version

    @property
    def mean_batch(self) -> float | None:
        """Positions per batch over all windows; None: no batch."""
        tally = sum_tallies(self._tallies)
        return int(tally["evaluations"]) / int(tally["batches"]) if tally["batches"] else None

    @property
    def window_seconds(self) -> float:
        return sum(end - start for start, end in self.windows)

    @property
    def games_in_windows(self) -> list[int]:
        """Number of evaluations of each game that finished inside a window."""
        return [
            evaluations
            for time, evaluations in self._finished
            if any(start <= time <= end for start, end in self.windows)
        ]

    def blocks(self) -> list[Block]:
        """The windows, cut into blocks."""
        return [block for start, end in self.windows for block in self.blocks_of(start, end)]

    def blocks_of(self, start: float, end: float) -> list[Block]:
        """[start, end] in monotonic seconds, cut into equal blocks of at least BLOCK_SECONDS."""
        cuts = np.linspace(start, end, max(1, int((end - start) / BLOCK_SECONDS)) + 1)
        done = np.zeros_like(cuts)
        for log in self._logs.values():
            done += log.at(cuts)
        games = np.histogram([time for time, _ in self._finished], cuts)[0]
        return [
            Block(seconds=seconds, evaluations=round(evaluations), games=int(count))
            for seconds, evaluations, count in zip(
                np.diff(cuts).tolist(), np.diff(done).tolist(), games, strict=True
            )
        ]

    def throughput(self) -> Throughput:
        """Games per minute, with interval, over all windows so far."""
        blocks, lengths = self.blocks(), Counter(self.games_in_windows)
        return Throughput(
            device=self.device,
            dtype=self.dtype,
            workers=len(self.engine.specs),
            threads=self.engine.specs[0].threads,
            lanes=self.engine.lanes,
            games_per_minute=games_per_minute(blocks, lengths),
            evaluations_per_second=evaluations_per_second(blocks),
            mean_batch=self.mean_batch,
            games=lengths.total(),
            window_seconds=self.window_seconds,
            warm_up_seconds=self.warm_up_seconds,
            blocks=blocks,
            games_by_evaluations=dict(sorted(lengths.items())),
            search_health=search_health(sum_tallies(self._tallies), self.trained),
        )

    def watch_shares(self) -> list[float]:
        """CPU share of each worker's stack watch, 0 to 1."""
        return [
            status.watch_cpu_seconds * status.handshake.threads / seconds
            for status in self.engine.pool.statuses
            if (seconds := sum(status.stage_seconds.values()))
        ]

    def workers(self) -> list[WorkerRecord]:
        """The records of all workers, including replaced ones."""
        return [worker_record(status) for status in self.engine.pool.statuses]
