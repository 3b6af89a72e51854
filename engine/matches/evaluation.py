"""The strength of a player against another: duplicate deals, played in lockstep on all cores.

Each deal is played once with the agent in every seat, against copies of the opponent, with the same
cards, trump and dealer, so that the luck of the cards cancels. Deals are independent of each other,
the games of one deal are not: all results are per deal.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from engine.game.rules import check_setting
from engine.matches.kernels import NOT_PLAYED, Side, Table, gather_side, is_finished, new_sides
from engine.matches.players import Player, random_player, rule_player
from engine.network.devices import usable_cores
from engine.network.evaluator import Evaluator
from engine.search.lanes import SearchConfig
from engine.search.scatter import scatter

CUDA_THREADS = 2
"""Most threads on CUDA, where each takes memory for streams and graphs of its own."""
CPU_LANES, CUDA_LANES = 192, 2048
"""Games in progress per thread; twice as many as in self-play, since two sides share them."""
PROGRESS_SECONDS = 0.2

OnProgress = Callable[[int], None]
"""Called a few times per second, and at the end, with the number of finished games."""


class MatchResult(NamedTuple):
    """Results of the finished deals, as plain values."""

    deals: int
    difference: float
    """Points: the agent's mean score minus the opponents'."""
    standard_error: float | None
    """Standard error of the difference over deals; None for a single deal."""
    exact_bids: float
    """Share of the agent's bids that were made exactly."""
    opponents_exact_bids: float
    """The same for the opponents."""


class Evaluation:
    """`agent` in every seat of each of `deals` deals, against copies of `opponent`.

    The same seed deals the same cards, never those of self-play; with the same `threads` and
    `lanes` (of each thread) the games are the same too. Networks stay on their devices.
    Raises ValueError for an illegal setting.
    """

    def __init__(
        self,
        agent: Player,
        opponent: Player,
        deals: int = 1000,
        players: int = 4,
        cards: int = 5,
        *,
        seed: int = 0,
        threads: int | None = None,
        lanes: int | None = None,
    ) -> None:
        check_setting(players, cards)
        for name, value in (("deals", deals), ("threads", threads), ("lanes", lanes)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.agent, self.opponent = agent, opponent
        self.config = SearchConfig(players=players, cards=cards, seed=seed)
        cores = min(usable_cores(), CUDA_THREADS) if self._on_cuda else usable_cores()
        self.threads = min(threads or cores, deals)
        self.lanes = lanes or (CUDA_LANES if self._on_cuda else CPU_LANES)
        """Games in progress of each thread."""
        self.scores = np.full((deals, players, players), NOT_PLAYED, np.int16)
        """[deals, players, players] points by deal, the agent's seat, and seat."""
        self.at_work = False
        """Whether games are being played."""

    @property
    def _on_cuda(self) -> bool:
        networks = (player.network for player in (self.agent, self.opponent))
        return any(n is not None and n.embedding.weight.is_cuda for n in networks)

    # -- playing ------------------------------------------------------------------------------

    def play(self, on_progress: OnProgress | None = None) -> None:
        """Play all games. An exception in `on_progress` ends this early; finished games stay.

        Raises what torch raises when a network fails.
        """
        deals, players, _ = self.scores.shape
        numbers = np.arange(deals * players).reshape(deals, players)
        tables = [
            Table(
                games=numbers[k :: self.threads].ravel(),
                opened=np.zeros(1, np.int64),
                finished=np.zeros(1, np.int64),
                scores=self.scores.reshape(-1, players),
            )
            for k in range(self.threads)
        ]
        self.at_work = True
        with ThreadPoolExecutor(self.threads, "table", torch.set_num_threads, (1,)) as pool:
            try:
                running = [pool.submit(self._play_table, table) for table in tables]
                while wait(running, PROGRESS_SECONDS, FIRST_EXCEPTION).not_done:
                    for failed in (one for one in running if one.done()):
                        failed.result()
                    if on_progress is not None:
                        on_progress(sum(int(table.finished[0]) for table in tables))
            finally:
                self.at_work = False
        for one in running:
            one.result()
        if on_progress is not None:
            on_progress(deals * players)

    def _play_table(self, table: Table) -> None:
        """Step until the table's games have ended, or `at_work` is cleared."""
        lanes = min(self.lanes, len(table.games))
        sides = new_sides(self.agent, self.opponent, self.config, lanes, self._on_cuda)
        players = zip(sides, (self.agent, self.opponent), strict=True)
        turns = [(side, evaluator_of(player, side)) for side, player in players]
        while self.at_work and not is_finished(table):
            for side, evaluator in turns:
                rows = gather_side(table, side)
                if rows and evaluator is not None:
                    evaluator.submit(rows)
                    evaluator.wait()
                    scatter(side.group, side.search, rows)

    # -- results ------------------------------------------------------------------------------

    @property
    def finished(self) -> NDArray[np.bool_]:
        """[deals] whether all games of a deal have ended."""
        return (self.scores != NOT_PLAYED).all((1, 2))

    def differences(self) -> NDArray[np.float64]:
        """[finished deals] points: the agent's mean score minus the opponents'."""
        agent, opponents = self._by_side(self.scores)
        return agent - opponents

    def exact_bids(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[finished deals] twice: shares of exact bids of the agent and of the opponents."""
        # An exact bid scores at least 10, any other 0.
        return self._by_side(self.scores > 0)

    def result(self) -> MatchResult | None:
        """The results of all finished deals; None if there are none."""
        differences = self.differences()
        deals = len(differences)
        if not deals:
            return None
        agent, opponents = self.exact_bids()
        return MatchResult(
            deals=deals,
            difference=float(differences.mean()),
            standard_error=float(differences.std(ddof=1) / deals**0.5) if deals > 1 else None,
            exact_bids=float(agent.mean()),
            opponents_exact_bids=float(opponents.mean()),
        )

    def _by_side(self, results: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[finished deals] twice: means of `results`, shaped like the scores, by side."""
        played = results[self.finished].astype(np.float64)
        seats = np.arange(played.shape[1])
        agent = played[:, seats, seats]
        opponents = (played.sum(2) - agent) / (len(seats) - 1)
        return agent.mean(1), opponents.mean(1)


def evaluator_of(player: Player, side: Side) -> Evaluator | None:
    """Evaluates the side's batches; None for a player without a network."""
    if player.network is None:
        return None
    return Evaluator(player.network, side.group.batch.states, side.group.batch.answers)


def compile_match_kernels() -> None:
    """Compile every kernel of an evaluation, or load it from the cache on disk."""
    Evaluation(random_player(), rule_player(), deals=1, players=3, cards=1, threads=1).play()
