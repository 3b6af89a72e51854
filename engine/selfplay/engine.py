"""SelfPlayEngine: games handed out to worker processes, their examples returned as arrays.

The parent only hands out game numbers and collects results. A game's cards depend on (seed, its
number) alone, so a worker that dies costs time but no deal: its games are granted again.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from engine.game.encoding import ActionMasker, StateEncoder
from engine.game.rules import check_setting
from engine.network.blobnet import BlobNet, weights_of
from engine.search.batches import batch_rows
from engine.search.compilation import compile_kernels
from engine.search.examples import empty_examples
from engine.search.lanes import Schedule, SearchConfig, temperature_table
from engine.search.trees import MAX_SIMULATIONS
from engine.selfplay.faults import HEALTHY, NAMES, Injection
from engine.selfplay.game_queue import GameQueue
from engine.selfplay.game_slots import GameSlots
from engine.selfplay.pool import WorkerPool
from engine.selfplay.results import Call, MessageCallback, ProgressCallback, SelfPlayResult
from engine.selfplay.telemetry import Progress, subtract_tallies, sum_tallies
from engine.selfplay.worker import PlayOrder, WorkerSpec
from engine.selfplay.worker_layout import groups_on, lay_out
from engine.selfplay.worker_messages import Handshake, Measure, ThreadProgress


class SelfPlayEngine:
    """Self-play in worker processes, each of which builds its network on its device.

    Args:
      network: its weights are copied when the engine is made; see `update_weights`.
      encoder, masker: checked against the network, and not called: the search encodes positions
        and masks actions in compiled kernels (`encode` and `mask_actions` of
        `engine.game.encoding`), so a subclass is refused instead of being ignored.
      num_workers: processes; by default one per core on the CPU, one per GPU on CUDA.
      num_determinizations: trees of a decision.
      simulations_per_determinization: simulations of each tree.
      temperature_schedule: maps the mover's own move number (its bid is 0, its n-th card n) to a
        temperature; by default 1 for the bid and two tricks, then 0.
      device: cpu, cuda (the workers are spread over the visible GPUs), cuda:N, or meta
        (handshakes only).
      threads: search threads of a worker; by default 1 on the CPU, on CUDA a worker's share of
        the cores.
      lanes: games in progress of a worker.
      dtype: float32 or bfloat16, of the inference network.
      seed: with a game's number, determines its cards.
      stall_seconds: a worker that has games and takes no step for this long is killed and
        replaced.
      injection: a fault to inject; no worker is refused for what the fault does.
      cores: cores to plan for; by default this process's CPU affinity.
      graphs: on CUDA, launch the network as one CUDA graph.

    Raises ValueError for bad arguments, DeviceError for a malformed device, DeviceUnavailable
    for a device that is not there; `start` raises DeviceMismatch and WorkerFailed.
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
        _check_encoder_and_masker(network, encoder, masker)
        _check_positive(
            num_workers=num_workers,
            num_determinizations=num_determinizations,
            simulations_per_determinization=simulations_per_determinization,
            threads=threads,
            lanes=lanes,
        )
        _check_choices(simulations_per_determinization, dtype, temperature_schedule, injection)
        layout = lay_out(device, num_workers, threads, lanes, cores, injection)
        self.search = SearchConfig(
            determinizations=num_determinizations,
            simulations=simulations_per_determinization,
            seed=seed,
            leaves=injection.leaves,
        )
        self.injection = injection
        self.device, self.schedule = device, temperature_schedule
        spec = WorkerSpec(
            worker=0,
            device=device,
            network=network.config,
            dtype=dtype,
            threads=layout.threads,
            injection=injection,
            graphs=graphs,
        )
        self.specs = [
            spec._replace(worker=worker, device=own) for worker, own in enumerate(layout.devices)
        ]
        self.lanes_each = layout.lanes
        """Games in progress of a worker; a new number takes effect with the next order."""
        self.pool = WorkerPool(
            self.specs, weights_of(network), stall_seconds, self._take, self._give_back
        )
        self._queue = GameQueue()
        self._call: Call | None = None
        """The call in progress."""

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
        """Start the workers and wait for every handshake; no-op when they run.

        Raises DeviceMismatch, with the workers ended, unless `refuse_mismatch` is False;
        WorkerFailed when a worker does not start.
        """
        if self.device != "meta" and not self.pool.workers:
            compile_kernels()  # once here, instead of in every worker at the same time
        return self.pool.start(refuse_mismatch=refuse_mismatch)

    def close(self) -> None:
        """End all workers; their statuses stay available."""
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
        """[] of dtype TALLY: counters of all workers since they started, lost ones included."""
        return sum_tallies(status.tally for status in self.pool.statuses)

    # -- measuring ----------------------------------------------------------------------------

    def measure_network(self, seconds: float = 1.0, rows: int | None = None) -> float:
        """Evaluations per second of the bare network, all workers at once, without any search.

        `rows` per batch; by default `full_batch`.
        Raises WorkerFailed when a worker does not answer.
        """
        return self.pool.measure(Measure("network", rows or self.full_batch, seconds))

    def measure_trees(self, seconds: float = 1.0) -> float:
        """Evaluations per second of the last order's search alone, all workers at once.

        The network's answers are zeros and cost nothing. Raises WorkerFailed when a worker does
        not answer, or has had no order.
        """
        return self.pool.measure(Measure("trees", self._lanes_per_batch, seconds))

    def measure_multiply(self, size: int, seconds: float = 1.0) -> float:
        """Floating-point operations per second of `size` × `size` matrix products in all threads.

        Raises WorkerFailed when a worker does not answer.
        """
        return self.pool.measure(Measure("multiply", size, seconds))

    @property
    def full_batch(self) -> int:
        """Rows of the batch that one group of lanes keeps full."""
        return batch_rows(self._lanes_per_batch, self.search.determinizations)

    @property
    def _lanes_per_batch(self) -> int:
        groups = self.specs[0].threads * groups_on(torch.device(self.device))
        return -(-self.lanes_each // groups)

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
        Raises ValueError for an illegal setting, WorkerFailed when workers fail repeatedly.
        """
        if num_games < 1:
            raise ValueError(f"num_games must be at least 1, not {num_games}")
        if first_game is not None:
            self._queue.next_game = first_game
        first = self._queue.next_game
        self._begin_order(num_players, cards_to_deal, num_games)
        slots = GameSlots(num_games, num_players * (cards_to_deal + 1))
        return self._play(
            Call(num_games, slots, first, on_message),
            lambda progress: progress.games >= num_games,
            progress_callback,
        )

    def play_until(
        self,
        enough: Callable[[Progress], bool],
        num_players: int = 4,
        cards_to_deal: int = 5,
        progress_callback: ProgressCallback | None = None,
        on_message: MessageCallback | None = None,
    ) -> SelfPlayResult:
        """Keep every lane full until `enough` returns True; games in progress wait for later calls.

        A call with the same setting goes on with the same lanes. Examples are made and sent to
        this process, then dropped: a measuring window may last arbitrarily long. A lane's first
        game begins with random moves, so that games end evenly from the start; measure once every
        lane has finished it (`Progress.lanes_settled`).
        Raises ValueError for an illegal setting, WorkerFailed when workers fail repeatedly.
        """
        if self._can_continue(num_players, cards_to_deal):
            self.pool.go_on()
        else:
            self._begin_order(num_players, cards_to_deal, None)
        return self._play(Call(None, None, 0, on_message), enough, progress_callback)

    def _can_continue(self, players: int, cards: int) -> bool:
        """Whether the workers' lanes fit a call of `play_until` with this setting."""
        order = self.pool.order
        if order is None or not order.endless:
            return False
        current = (order.search.players, order.search.cards, order.lanes)
        return current == (players, cards, self.lanes_each)

    def _begin_order(self, players: int, cards: int, games: int | None) -> None:
        check_setting(players, cards)
        temperatures = temperature_table(self.schedule, cards)
        self.start()
        search = self.search._replace(players=players, cards=cards)
        self.pool.begin(PlayOrder(search, temperatures, self.lanes_each, games is None))
        self._queue.begin(games)

    def _play(
        self,
        call: Call,
        enough: Callable[[Progress], bool],
        callback: ProgressCallback | None,
    ) -> SelfPlayResult:
        start, before, events = monotonic(), self.tally, len(self.pool.events)
        self._call = call
        try:
            with self.pool.working():
                while not enough(progress := self._progress(call)):
                    if callback is not None:
                        callback(progress)
                    self._queue.top_up(self.pool.workers, self.lanes_each, call.wanted is None)
                    self.pool.poll()
                if callback is not None:
                    callback(progress)
                self.pool.pause()
        finally:
            self._call = None
        return SelfPlayResult(
            examples=empty_examples(0) if call.slots is None else call.slots.close(),
            games=call.finished,
            seconds=monotonic() - start,
            tally=subtract_tallies(self.tally, before),
            events=self.pool.events[events:],
            weights_ages=dict(sorted(call.ages.items())),
        )

    def stand_still(self) -> None:
        """Inject the phase gap in the middle of a call: all workers wait for this process."""
        self.pool.pause()
        self.pool.at_work = False
        self.injection.gap()
        self.pool.at_work = True
        self.pool.go_on()

    def _progress(self, call: Call) -> Progress:
        settled = sum(w.status.settled for w in self.pool.workers if w.status is not None)
        return Progress(
            time=monotonic(),
            games=call.finished,
            wanted=call.wanted,
            tally=self.tally,
            lanes_settled=settled >= self.lanes,
        )

    # -- callbacks of the pool ----------------------------------------------------------------

    def _take(self, message: ThreadProgress, finished: list[int]) -> None:
        if self._call is not None:
            self._call.take(message, finished, self.pool.weights_age(message.pid))

    def _give_back(self, games: list[int]) -> None:
        self._queue.give_back(games)


def _check_encoder_and_masker(
    network: BlobNet, encoder: StateEncoder | None, masker: ActionMasker | None
) -> None:
    for given, expected in ((encoder, StateEncoder), (masker, ActionMasker)):
        if given is not None and type(given) is not expected:
            raise ValueError(
                f"the search has its own compiled {expected.__name__} and would not call "
                f"{type(given).__name__}: pass None or an instance of {expected.__name__} itself"
            )
    floats, actions = network.embedding.in_features, network.policy_head[2].out_features
    if encoder is not None and encoder.state_dim != floats:
        raise ValueError(
            f"the network reads {floats} floats, the encoder writes {encoder.state_dim}"
        )
    if masker is not None and masker.num_actions != actions:
        raise ValueError(f"the network has {actions} actions, the masker {masker.num_actions}")


def _check_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def _check_choices(
    simulations: int, dtype: str, schedule: Schedule | None, injection: Injection
) -> None:
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be float32 or bfloat16, not {dtype!r}")
    if schedule is not None and not callable(schedule):
        raise ValueError(f"temperature_schedule must be callable, not {schedule!r}")
    if injection.name not in (None, *NAMES):
        raise ValueError(f"injection {injection.name!r} is none of: {', '.join(NAMES)}")
    if simulations > MAX_SIMULATIONS:
        raise ValueError(
            f"simulations_per_determinization must be at most {MAX_SIMULATIONS:,}, not "
            f"{simulations:,}"
        )
