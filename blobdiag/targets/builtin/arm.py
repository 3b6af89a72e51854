"""The workload under measurement: the built-in engine, seen as rates, workers and events.

The commands speak to an `Arm`, one device's self-play; it keeps what the workers report, cut into
the windows in which it was measured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import compress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import safetensors.torch
import torch

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.diagnosis.statistics import evaluations_per_second, games_per_minute
from blobdiag.model.errors import UserError
from blobdiag.model.faults import dose_or_default, parse
from blobdiag.model.report import (
    Block,
    Hold,
    Metric,
    SearchHealth,
    Throughput,
    WorkerRecord,
)
from blobdiag.model.report_files import mask_text
from blobdiag.model.settings import Settings
from blobdiag.sampling.machine import usable_cores
from blobdiag.targets.builtin.probing import probe
from blobdiag.targets.protocol import OnEvent, OnProgress, PhaseMarker, Probes, Watch
from engine.game.encoding import ActionMasker, StateEncoder
from engine.game.rules import check_setting
from engine.network.blobnet import BlobNet, InferenceNet, NetworkConfig, build_network
from engine.network.devices import DeviceError, resolve_auto, worker_devices
from engine.network.precision import Difference, choose_dtype, difference, probe_states
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import HEALTHY, PRECISION, Injection
from engine.selfplay.pool import WorkerFailed
from engine.selfplay.stacks import Place
from engine.selfplay.telemetry import (
    EngineEvent,
    Progress,
    ThreadProgress,
    WorkerStatus,
    subtract_tallies,
    sum_tallies,
)

BLOCK_SECONDS = 1.0
"""Length of the blocks a window is cut into; the last one takes the rest."""
MOST_HOLDS = 20
"""Lines of a process that its report names."""
BARE_NETWORK = "bare network"
"""The phase in which the network is measured alone."""
PROBE_POSITIONS = 1024
"""On which two devices' answers are compared."""


def check_workload(settings: Settings) -> None:
    """Raise UserError, in one line, for what the engine could not play."""
    try:
        check_setting(settings.players, settings.cards)
        NetworkConfig.parse(settings.network)
        resolve_auto(settings.device)
    except (ValueError, DeviceError) as error:
        raise UserError(str(error)) from None


def load_network(settings: Settings) -> BlobNet:
    """The network to play with, on the CPU: the checkpoint's weights, else seeded random ones.

    Raises UserError for a checkpoint that is missing, is no state dict, or does not fit.
    """
    config = NetworkConfig.parse(settings.network)
    network = build_network(config, "cpu", settings.seed)
    path = settings.checkpoint
    if path is None:
        return network
    weights = read_weights(path, f"--checkpoint {path}")
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"--checkpoint {path}: its weights do not fit --network {config} ({_first_line(error)})"
        ) from None
    return network


def read_weights(path: Path, named: str) -> dict[str, Any]:
    """A state dict, from safetensors or torch's own format; nothing in the file is run.

    `named` is how the errors call it. Raises UserError for a file that is missing or another kind.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return weights
    except FileNotFoundError:
        raise UserError(f"{named}: there is no such file") from None
    except Exception as error:  # the readers raise anything on a file of another kind
        raise UserError(f"{named}: not a file of weights ({_first_line(error)})") from None


def network_of(path: Path, named: str) -> BlobNet:
    """The network of a file of weights, on the CPU; its shape is read off them.

    Raises UserError for a file that is missing, or holds something else.
    """
    weights = read_weights(path, named)
    try:
        network = build_network(NetworkConfig.of(weights), "cpu")
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{named}: no network's weights ({_first_line(error)})") from None
    return network


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":")


def injection_of(settings: Settings) -> Injection:
    """The fault that `--inject` asks for, its dose filled in; HEALTHY without one."""
    if settings.inject is None:
        return HEALTHY
    fault, dose = parse(settings.inject)
    return Injection(fault.name, dose_or_default(fault, dose, usable_cores()))


class ThreadLog:
    """Cumulative counters of one search thread, as it stamped them."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.evaluations: list[int] = []

    def forget(self, before: float) -> None:
        """Drop what was stamped before a moment."""
        gone = bisect_left(self.times, before)
        del self.times[:gone]
        del self.evaluations[:gone]

    def at(self, times: np.ndarray) -> np.ndarray:
        """Evaluations at monotonic `times`, interpolated between stamps."""
        return np.interp(times, self.times, self.evaluations)


class Arm:
    """Self-play on one device, measured in windows."""

    def __init__(self, settings: Settings, network: BlobNet, device: str) -> None:
        """Raises what SelfPlayEngine raises for the device."""
        worker_devices(device, 1)  # an absent device is refused before anything is built for it
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
        """Start the workers and have them sampled. Raises WorkerFailed."""
        handshakes = self.engine.start(refuse_mismatch=False)
        watch(h.pid for h in handshakes)

    def close(self) -> None:
        """End the workers; what is known of them stays."""
        self.engine.close()

    # -- measuring ----------------------------------------------------------------------------

    def warm_up(self, on_progress: OnProgress) -> None:
        """Play until every lane has finished a game."""
        start = monotonic()
        self._play(lambda progress: progress.lanes_settled, on_progress)
        self.warm_up_seconds = monotonic() - start

    def measure(self, seconds: float, games: int, on_progress: OnProgress) -> None:
        """Add a window: play on until both are reached."""
        start = end = monotonic()
        gap_due = self.engine.injection.has_gap

        def enough(progress: Progress) -> bool:
            nonlocal end, gap_due
            # Work between this moment and the last lane's pause is outside the window.
            end = progress.time
            if gap_due and end - start >= seconds / 2:
                gap_due = False
                self.engine.stand_still()
            return progress.games >= games and end - start >= seconds

        before = self.engine.tally
        try:
            self._play(enough, on_progress)
        finally:
            # An interrupt ends the window, not what it held.
            if end > start:
                self.add_window(start, end, subtract_tallies(self.engine.tally, before))

    def add_window(self, start: float, end: float, tally: np.ndarray) -> None:
        """Count [start, end] (monotonic seconds) as measured; `tally` is what was done in it."""
        self.windows.append((start, end))
        self._tallies.append(tally)

    def forget(self, before: float) -> None:
        """Drop the windows that ended before a moment (monotonic), and what lies in them."""
        kept = [end > before for _, end in self.windows]
        self.windows = list(compress(self.windows, kept))
        self._tallies = list(compress(self._tallies, kept))
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
        """Keep a search thread's counters and the lengths of the games it finished."""
        log = self._logs[message.pid, message.thread]
        log.times.append(message.time)
        log.evaluations.append(int(message.tally["evaluations"]))
        self._finished += [(message.time, evaluations) for _, evaluations in message.finished]

    def probe(self, phase: PhaseMarker, event: OnEvent) -> Probes | None:
        """Measure the network alone while the workers pause; None, and an event, if one fails."""
        with phase(BARE_NETWORK, self.device):
            try:
                return probe(self)
            except WorkerFailed as error:
                event("not-measured", f"the network alone: {error}")
                return None

    def outputs_differ(self) -> Difference:
        """Largest difference between the CPU's float32 answers and the device's own."""
        plain = BlobNet(self.network.embedding.in_features, *self.network.config)
        plain.load_state_dict(self.network.state_dict())
        exact = InferenceNet(plain.eval())
        other = InferenceNet(plain).to(self.device, getattr(torch, self.dtype))
        states = probe_states(PROBE_POSITIONS, self.settings.players, self.settings.cards)
        return difference(exact, other, states)

    # -- results ------------------------------------------------------------------------------

    @property
    def at_work(self) -> bool:
        return self.engine.pool.at_work

    @property
    def events(self) -> list[EngineEvent]:
        return self.engine.pool.events

    @property
    def states(self) -> Counter[str]:
        """How many workers there are of each state."""
        return Counter(status.state for status in self.engine.pool.statuses)

    @property
    def other_pids(self) -> set[int]:
        """Processes beside the workers: none."""
        return set()

    @property
    def weights(self) -> tuple[str | None, int | None]:
        """Hash of the weights all should play with, and how often they were replaced."""
        return self.engine.pool.weights_hash, self.engine.pool.weights_version

    @property
    def games_finished(self) -> int:
        """Within the windows."""
        return len(self.games_in_windows)

    @property
    def rate(self) -> Metric:
        """Evaluations per second over the windows."""
        return evaluations_per_second(self.blocks())

    @property
    def mean_batch(self) -> float | None:
        """Positions a batch, over all windows; None: no batch."""
        tally = sum_tallies(self._tallies)
        return int(tally["evaluations"]) / int(tally["batches"]) if tally["batches"] else None

    @property
    def window_seconds(self) -> float:
        return sum(end - start for start, end in self.windows)

    @property
    def games_in_windows(self) -> list[int]:
        """Evaluations of each game that finished inside a window."""
        return [
            evaluations
            for time, evaluations in self._finished
            if any(start <= time <= end for start, end in self.windows)
        ]

    def blocks(self) -> list[Block]:
        """The windows, cut into blocks."""
        return [block for start, end in self.windows for block in self.blocks_of(start, end)]

    def blocks_of(self, start: float, end: float) -> list[Block]:
        """[start, end] in monotonic seconds, cut into blocks of BLOCK_SECONDS or a little more."""
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
        """What watching its own stacks has cost each worker, as a share of its time."""
        return [
            status.watch_cpu_seconds * status.handshake.threads / seconds
            for status in self.engine.pool.statuses
            if (seconds := sum(status.stage_seconds.values()))
        ]

    def workers(self) -> list[WorkerRecord]:
        """What each worker process there ever was said of itself."""
        return [worker_record(status) for status in self.engine.pool.statuses]


def search_health(tally: np.ndarray, trained: bool) -> SearchHealth:
    """What a search did with its evaluations; `tally` is [] of dtype engine.lanes.TALLY."""
    evaluations, decisions = int(tally["evaluations"]), int(tally["decisions"])
    games = int(tally["games"])
    with_room = int(tally["simulations"] - tally["shallow_ends"])
    missing = [
        name
        for name, count in (
            ("network evaluation", evaluations),
            ("simulation with room to go deeper", with_room),
            ("searched decision", decisions),
            ("finished game", games),
        )
        if not count
    ]
    return SearchHealth(
        distinct_share=int(tally["distinct"]) / evaluations if evaluations else None,
        deep_share=int(tally["deep"]) / with_room if with_room else None,
        mean_kl_nats=float(tally["kl"]) / decisions if decisions else None,
        evaluations_per_game=int(tally["game_evaluations"]) / games if games else None,
        evaluations_per_decision=evaluations / decisions if decisions else None,
        trained_weights=trained,
        reason=f"the window saw no {', no '.join(missing)}" if missing else None,
    )


def worker_record(status: WorkerStatus) -> WorkerRecord:
    """A worker's handshake and last counters, for the report."""
    handshake, tally = status.handshake, status.tally
    return WorkerRecord(
        worker=handshake.worker,
        pid=handshake.pid,
        device_asked=handshake.device_asked,
        parameter_devices=list(handshake.parameter_devices),
        output_device=handshake.output_device,
        device_uuid=handshake.device_uuid,
        dtype=handshake.dtype,
        threads=handshake.threads,
        intra_op_threads=handshake.intra_op_threads,
        weights_hash=handshake.weights_hash,
        state="finished" if status.state == "running" else status.state,
        games=int(tally["games"]),
        evaluations=int(tally["evaluations"]),
        batches=int(tally["batches"]),
        stage_seconds=status.stage_seconds,
        batch_histogram=dict(sorted(status.batches.items())),
        grad_enabled=None if status.modes is None else status.modes.grad_enabled,
        train_mode=None if status.modes is None else status.modes.train_mode,
        deals=status.deals,
        weights_version=handshake.weights_version,
        holds=hold_records(status.holds),
        gpu_memory_mib=status.gpu_memory_mib,
        stacks=None if status.stacks is None else mask_text(status.stacks),
    )


def hold_records(seconds: Mapping[Place, float]) -> list[Hold]:
    """The MOST_HOLDS places where a process held its device up longest; shares are of all."""
    total = sum(seconds.values())
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:MOST_HOLDS]
    return [
        Hold(phase=place.phase, where=place.where, seconds=spent, share=spent / total)
        for place, spent in longest
        if spent > 0
    ]
