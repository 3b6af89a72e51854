"""SelfPlayEngine: games dealt out to worker processes, brought back as arrays.

The parent only hands out game numbers and takes in results. A game's cards depend on (seed, its
number) alone, so a worker that dies costs time, never a deal: its games are granted again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from engine.game.encoding import ActionMasker, StateEncoder
from engine.game.rules import check_setting
from engine.network.blobnet import BlobNet, weights_of
from engine.network.devices import check_device_name, usable_cores, worker_devices
from engine.search.batches import batch_rows
from engine.search.compilation import compile_kernels
from engine.search.examples import Examples, empty_examples
from engine.search.lanes import Schedule, SearchConfig, temperature_table
from engine.search.trees import MAX_SIMULATIONS
from engine.selfplay.faults import HEALTHY, NAMES, Injection
from engine.selfplay.game_slots import GameSlots
from engine.selfplay.pool import WorkerPool
from engine.selfplay.telemetry import (
    EngineEvent,
    Handshake,
    Progress,
    ThreadProgress,
    subtract_tallies,
    sum_tallies,
)
from engine.selfplay.worker import PlayOrder, WorkerSpec, groups_on
from engine.selfplay.worker_process import Measure

CPU_LANES = 96
"""Games in progress per search thread on the CPU; see docs/performance.md."""
CUDA_LANES = 1024
"""Games in progress per search thread on CUDA; not yet tuned."""


class SelfPlayResult(NamedTuple):
    """Finished games."""

    examples: Examples
    """All searched decisions, games in the order of their numbers."""
    games: int
    seconds: float
    tally: NDArray[np.void]
    """[] of dtype TALLY: what this call did."""
    events: list[EngineEvent]
    weights_ages: dict[int, int]
    """How many times the engine's weights had been replaced since those that a game ended with:
    how many such games; 0 is the newest."""


ProgressCallback = Callable[[Progress], None]
MessageCallback = Callable[[ThreadProgress], None]


class SelfPlayEngine:
    """Self-play in worker processes, each on its device by construction.

    Args: `network`'s weights are copied at start; `device` is cpu, meta (handshakes only), cuda
    (workers spread over the visible GPUs) or cuda:N. `num_workers` defaults to the cores on the
    CPU and to the GPUs on CUDA; `threads` (search threads a worker) to 1 and to the cores a GPU;
    `lanes` are games in progress a worker. `temperature_schedule` maps the mover's own move
    number (its bid is 0, its n-th card n) to a temperature. `injection` is a fault on purpose; no
    worker is refused for what it does. `cores` are those to plan for: by default the process's
    affinity, to be lowered where a quota holds. `graphs` makes the network one launch on CUDA.

    Raises ValueError for bad arguments, DeviceError for a malformed device, DeviceUnavailable
    for an absent one; `start` raises DeviceMismatch and WorkerFailed.
    """

    def __init__(
        self,
        network: BlobNet,
        encoder: StateEncoder | None = None,
        masker: ActionMasker | None = None,
        num_workers: int | None = None,
        num_determinizations: int = 3,
        simulations_per_determinization: int = 30,
        temperature_schedule: Schedule | None = None,
        device: str = "cpu",
        *,
        threads: int | None = None,
        lanes: int | None = None,
        dtype: str = "float32",
        seed: int = 0,
        stall_seconds: float = 120.0,
        injection: Injection = HEALTHY,
        cores: int | None = None,
        graphs: bool = True,
    ) -> None:
        _check_shapes(network, encoder, masker)
        _check_positive(
            num_workers=num_workers,
            num_determinizations=num_determinizations,
            simulations_per_determinization=simulations_per_determinization,
            threads=threads,
            lanes=lanes,
        )
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype must be float32 or bfloat16, not {dtype!r}")
        if temperature_schedule is not None and not callable(temperature_schedule):
            raise ValueError(f"temperature_schedule must be callable, not {temperature_schedule!r}")
        if injection.name not in (None, *NAMES):
            raise ValueError(f"injection {injection.name!r} is none of: {', '.join(NAMES)}")
        check_device_name(device)
        on_cuda = device.startswith("cuda")
        visible = _visible_gpus(device) if on_cuda else 0
        cores = cores or usable_cores()
        workers = num_workers or (visible if device == "cuda" else 1 if on_cuda else cores)
        threads = threads or (max(2, cores // workers) if on_cuda else 1)
        lanes = lanes or threads * injection.lanes(CUDA_LANES if on_cuda else CPU_LANES)
        if simulations_per_determinization > MAX_SIMULATIONS:
            raise ValueError(
                f"simulations_per_determinization must be at most {MAX_SIMULATIONS:,}, not "
                f"{simulations_per_determinization:,}"
            )
        self.search = SearchConfig(
            determinizations=num_determinizations,
            simulations=simulations_per_determinization,
            seed=seed,
            leaves=injection.leaves,
        )
        self.injection = injection
        self.device, self.schedule = device, temperature_schedule
        self.specs = [
            WorkerSpec(
                worker=worker,
                device=its_device,
                network=network.config,
                dtype=dtype,
                threads=threads,
                injection=injection,
                graphs=graphs,
            )
            for worker, its_device in enumerate(worker_devices(device, workers))
        ]
        self.lanes_each = lanes
        """Games in progress a worker; a new number counts from the next order on."""
        self.pool = WorkerPool(
            self.specs, weights_of(network), stall_seconds, self._take, self._play_again
        )
        self._next_game = 0
        self._waiting: deque[int] = deque()
        self._kept: GameSlots | None = None
        """Where the examples of the call under way go; None: they are not kept."""
        self._first_game = 0
        """The first game of the call under way."""
        self._finished = 0
        self._ages: Counter[int] = Counter()
        self._on_message: MessageCallback | None = None

    # -- life of the workers ------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, *, refuse_mismatch: bool = True) -> list[Handshake]:
        """Start the workers and wait for every handshake; again: nothing.

        Raises DeviceMismatch, with the workers ended, unless `refuse_mismatch` is False;
        WorkerFailed when one does not come up.
        """
        if self.device != "meta" and not self.pool.workers:
            compile_kernels()  # once, here: sixteen workers would each do it
        return self.pool.start(refuse_mismatch=refuse_mismatch)

    def close(self) -> None:
        """End all workers; what is known of them stays."""
        self.pool.close()

    def update_weights(self, network: BlobNet) -> str:
        """Give every worker the network's weights; returns their hash, checked in each.

        Raises WorkerFailed when a worker's hash differs from it afterwards.
        """
        self.pool.update_weights(weights_of(network))
        return self.pool.weights_hash

    @property
    def lanes(self) -> int:
        """Games in progress, all workers together."""
        return self.lanes_each * len(self.specs)

    @property
    def tally(self) -> NDArray[np.void]:
        """[] of dtype TALLY: all workers since they started, dead ones included."""
        return sum_tallies(status.tally for status in self.pool.statuses)

    # -- measuring ----------------------------------------------------------------------------

    def measure_network(self, seconds: float = 1.0, rows: int | None = None) -> float:
        """Evaluations per second of the bare network, all workers at once, without any search.

        `rows` a batch: by default as many as a thread's lanes can send.
        Raises WorkerFailed when a worker does not answer.
        """
        return self.pool.measure(Measure("network", rows or self.full_batch, seconds))

    @property
    def full_batch(self) -> int:
        """Rows of a batch that a thread's lanes keep full."""
        return batch_rows(self._lanes_of_a_batch, self.search.determinizations)

    @property
    def _lanes_of_a_batch(self) -> int:
        groups = self.specs[0].threads * groups_on(torch.device(self.device))
        return -(-self.lanes_each // groups)

    def measure_trees(self, seconds: float = 1.0) -> float:
        """Evaluations per second of the search alone, all workers at once, of the last order's.

        The network costs nothing and is indifferent. Raises WorkerFailed when a worker does not
        answer, or has had no order.
        """
        return self.pool.measure(Measure("trees", self._lanes_of_a_batch, seconds))

    def measure_multiply(self, size: int, seconds: float = 1.0) -> float:
        """Floating-point operations per second of square matrix products in the same threads.

        Raises WorkerFailed when a worker does not answer.
        """
        return self.pool.measure(Measure("multiply", size, seconds))

    # -- playing ------------------------------------------------------------------------------

    def generate_games(
        self,
        num_games: int,
        num_players: int = 4,
        cards_to_deal: int = 5,
        progress_callback: ProgressCallback | None = None,
        on_message: MessageCallback | None = None,
        first_game: int | None = None,
    ) -> SelfPlayResult:
        """Play exactly `num_games` deals to their end: new ones, or from number `first_game` on.

        Game n of an engine has the cards of (seed, n), whichever worker plays it. One worker with
        one search thread repeats the same games with the same weights to the last bit.
        Raises ValueError for an illegal setting, WorkerFailed when workers fail for good.
        """
        if num_games < 1:
            raise ValueError(f"num_games must be at least 1, not {num_games}")
        if first_game is not None:
            self._next_game = first_game
        self._new_order(num_players, cards_to_deal, num_games)
        self._kept = GameSlots(num_games, num_players * (cards_to_deal + 1))
        try:
            return self._play(
                lambda progress: progress.games >= num_games,
                progress_callback,
                on_message,
                num_games,
            )
        finally:
            self._kept = None

    def play_until(
        self,
        enough: Callable[[Progress], bool],
        num_players: int = 4,
        cards_to_deal: int = 5,
        progress_callback: ProgressCallback | None = None,
        on_message: MessageCallback | None = None,
    ) -> SelfPlayResult:
        """Keep every lane full until `enough` says so; games in flight wait for the next call.

        Examples are made and brought here, as always, but not kept: a window has no end known.
        Calls that follow go on with the same lanes, as long as the setting stays the same.
        A lane's first game begins midway, so that games end evenly from the start: what is to be
        measured begins when every lane has finished it (`Progress.lanes_settled`).
        """
        if not self._goes_on(num_players, cards_to_deal):
            self._new_order(num_players, cards_to_deal, None)
        else:
            self.pool.go_on()
        return self._play(enough, progress_callback, on_message, None)

    def _goes_on(self, players: int, cards: int) -> bool:
        """Whether the workers' lanes, as they are, suit a call of `play_until`."""
        order = self.pool.order
        if order is None or not order.endless:
            return False
        return (order.search.players, order.search.cards, order.lanes) == (
            players,
            cards,
            self.lanes_each,
        )

    def _new_order(self, players: int, cards: int, games: int | None) -> None:
        check_setting(players, cards)
        temperatures = temperature_table(self.schedule, cards)
        self.start()
        search = self.search._replace(players=players, cards=cards)
        self.pool.begin(PlayOrder(search, temperatures, self.lanes_each, games is None))
        self._waiting.clear()
        if games is not None:
            self._first_game = self._next_game
            self._waiting.extend(range(self._next_game, self._next_game + games))
            self._next_game += games

    def _play(
        self,
        enough: Callable[[Progress], bool],
        callback: ProgressCallback | None,
        on_message: MessageCallback | None,
        wanted: int | None,
    ) -> SelfPlayResult:
        start, before, events = monotonic(), self.tally, len(self.pool.events)
        self._finished, self._on_message = 0, on_message
        self._ages = Counter()
        with self.pool.working():
            while not enough(progress := self._progress(wanted)):
                if callback is not None:
                    callback(progress)
                self._grant(wanted is None)
                self.pool.tend()
            if callback is not None:
                callback(progress)
            self.pool.pause()
        self._on_message = None
        return SelfPlayResult(
            examples=empty_examples(0) if self._kept is None else self._kept.close(),
            games=self._finished,
            seconds=monotonic() - start,
            tally=subtract_tallies(self.tally, before),
            events=self.pool.events[events:],
            weights_ages=dict(sorted(self._ages.items())),
        )

    def stand_still(self) -> None:
        """The injected gap in the middle of a call: all workers wait for their parent."""
        self.pool.pause()
        self.pool.at_work = False
        self.injection.gap()
        self.pool.at_work = True
        self.pool.go_on()

    def _progress(self, wanted: int | None) -> Progress:
        settled = sum(w.status.settled for w in self.pool.workers if w.status is not None)
        return Progress(
            time=monotonic(),
            games=self._finished,
            wanted=wanted,
            tally=self.tally,
            lanes_settled=settled >= self.lanes,
        )

    def _grant(self, endless: bool) -> None:
        """Top up every worker: a game for each lane and a few to open next.

        Evenly, so that few games are spread over all workers. A lone worker is given all at once:
        nothing it plays then depends on when this process comes to it.
        """
        most = self.lanes_each + max(2, self.lanes_each // 4)
        if len(self.specs) == 1:
            most = max(most, len(self._waiting))
        takers = [w for w in self.pool.workers if w.status is not None and len(w.in_flight) < most]
        takers.sort(key=lambda worker: len(worker.in_flight))
        if endless:
            missing = sum(most - len(w.in_flight) for w in takers) - len(self._waiting)
            self._waiting.extend(range(self._next_game, self._next_game + max(0, missing)))
            self._next_game += max(0, missing)
        for k, worker in enumerate(takers):
            share = -(-len(self._waiting) // (len(takers) - k))
            games = [
                self._waiting.popleft() for _ in range(min(share, most - len(worker.in_flight)))
            ]
            if games:
                worker.grant(games)

    # -- what the pool brings -----------------------------------------------------------------

    def _take(self, message: ThreadProgress, finished: list[int]) -> None:
        self._finished += len(finished)
        for handshake in self.pool.handshakes:
            if finished and handshake.pid == message.pid:
                age = self.pool.weights_version - handshake.weights_version
                self._ages[age] += len(finished)
        if message.examples is not None and self._kept is not None and finished:
            self._keep(self._kept, message.examples, finished)
        if self._on_message is not None:
            self._on_message(message)

    def _play_again(self, games: list[int]) -> None:
        self._waiting.extendleft(reversed(games))

    def _keep(self, kept: GameSlots, examples: Examples, games: list[int]) -> None:
        """File examples by game; a game's rows lie side by side."""
        starts = np.flatnonzero(np.diff(examples.game, prepend=-1))
        ends = np.append(starts[1:], examples.rows)
        wanted = set(games)
        for start, end in zip(starts, ends, strict=True):
            game = int(examples.game[start])
            if game in wanted:
                rows = Examples._make(column[start:end] for column in examples)
                kept.put(game - self._first_game, rows)


def _visible_gpus(device: str) -> int:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        worker_devices(device, 1)  # says why
    return count


def _check_shapes(
    network: BlobNet, encoder: StateEncoder | None, masker: ActionMasker | None
) -> None:
    if encoder is not None and encoder.state_dim != network.embedding.in_features:
        raise ValueError(
            f"the network reads {network.embedding.in_features} floats, the encoder writes "
            f"{encoder.state_dim}"
        )
    actions = network.policy_head[2].out_features
    if masker is not None and masker.num_actions != actions:
        raise ValueError(f"the network has {actions} actions, the masker {masker.num_actions}")


def _check_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
