"""Lanes: games in progress, each with its trees, all sharing one network batch.

One step of a group of lanes is `gather` (search every tree to its next leaf, play the decisions
that are complete, refill the lanes whose game ended, write every position that needs the network
into the batch), one call of the network, and `scatter` (expand and back up). A step allocates
nothing: all arrays are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game import rules
from engine.game.belief import Belief, new_belief
from engine.game.encoding import STATE_DIM
from engine.game.rng import States
from engine.game.rules import ACTIONS, GAME, Games
from engine.search.examples import Examples, empty_examples
from engine.search.trees import Trees, max_moves, new_trees, scratch_values

CLOSED, OPENING, ROOT, SEARCHING = 0, 1, 2, 3
"""A lane's stage: no game; at a decision; its root awaits the network; its trees are searched."""

DEAL_STREAM = 0
"""A game's random stream 0 deals it; stream 1 + k belongs to its k-th searched decision."""

FIRST_DEALS = 32
"""Deals that a group records, to detect workers that play the same games."""

Schedule = Callable[[int], float]


class SearchConfig(NamedTuple):
    """Parameters of every decision's search; numbers only, so that kernels can take it.

    `determinizations` trees per decision get `simulations` each; `c_puct` weighs the prior in
    PUCT; `noise_share` of a root's priors is Dirichlet(`noise_alpha`) noise.
    """

    players: int = 4
    cards: int = 5
    determinizations: int = 3
    simulations: int = 30
    c_puct: float = 0.25
    noise_share: float = 0.25
    noise_alpha: float = 0.3
    seed: int = 0
    full_share: float = 1.0
    """Share of the decisions that are searched in full and become examples."""
    fast_simulations: int = 1
    """Simulations of all other decisions, without noise (playout cap randomization, Wu 2019)."""
    leaves: int = 1
    """Leaves of one tree collected before any is expanded; above 1 only as an injected fault."""


LANE = np.dtype(
    [
        ("stage", np.int8),  # CLOSED, OPENING, ROOT or SEARCHING
        ("game_id", np.int64),  # -1 while closed
        ("head_start", np.int64),  # random moves to make when it next opens
        ("evaluations", np.int64),  # network evaluations of the game so far
        ("decisions", np.int64),  # searched decisions of the game so far
        ("examples", np.int64),  # of them, those searched in full
        ("simulations", np.int32),  # of each tree in the current decision
        ("in_full", np.bool_),  # the current decision becomes an example
        ("games", np.int64),  # games finished here
    ],
    align=True,
)


class Lanes(NamedTuple):
    """L games in progress and their current decisions; at most K searched decisions a game."""

    lane: NDArray[np.void]
    """[L] of dtype LANE."""
    games: Games
    """[L]"""
    streams: States
    """[L] random stream of the current decision."""
    priors: NDArray[np.float32]
    """[L, moves] scratch: a root's priors with noise, later its visits."""
    states: NDArray[np.float32]
    """[L, K, STATE_DIM] examples of the game so far, then the current decision."""
    legal: NDArray[np.bool_]
    """[L, K, ACTIONS] legal actions."""
    policy: NDArray[np.float32]
    """[L, K, ACTIONS] visit shares."""
    mover: NDArray[np.int8]
    """[L, K] absolute seat."""


ROW = np.dtype(
    [
        ("legal", np.int64),  # the position's `legal_mask`
        ("lane", np.int32),
        ("tree", np.int32),  # NONE: the lane's root
        ("node", np.int32),
        ("mover", np.int8),
        ("trump", np.int8),
        ("bidding", np.bool_),
    ],
    align=True,
)
"""The origin of a batch row, and what is needed to read its answer."""


class Batch(NamedTuple):
    """B rows for positions that need the network, filled from row 0."""

    rows: NDArray[np.void]
    """[B] of dtype ROW."""

    states: NDArray[np.float32]
    """[B, STATE_DIM]"""
    answers: NDArray[np.float32]
    """[B, ANSWERS] the network's answers: policy logits, suits as encoded, then each seat's value
    in [0, 1], counted from the mover."""


TALLY = np.dtype(
    [
        ("steps", np.int64),  # lockstep steps taken
        ("batches", np.int64),  # steps with rows for the network
        ("computed", np.int64),  # rows the network computed, padding included
        ("evaluations", np.int64),  # computed rows that hold a position
        ("distinct", np.int64),  # evaluations of (tree, node) pairs not evaluated before
        ("simulations", np.int64),
        ("deep", np.int64),  # simulations whose leaf is deeper than one move
        ("shallow_ends", np.int64),  # simulations in which the game ends after one move
        ("decisions", np.int64),  # searched moves played
        ("kl", np.float64),  # sum over decisions of KL(visits || uniform), nats
        ("games", np.int64),  # games finished
        ("game_evaluations", np.int64),  # evaluations of finished games
        ("settled", np.int64),  # lanes that have finished a game
        ("grants_used", np.int64),  # games taken from the grants
    ]
)
"""Counters of a group of lanes since it was made; none ever decreases."""


class Group(NamedTuple):
    """The arrays of one group of L lanes, all that `gather` and `scatter` work on."""

    lanes: Lanes
    trees: Trees
    belief: Belief
    batch: Batch
    output: Examples
    """Examples of finished games; `output_used` rows are filled, `take_output` empties it."""
    output_used: NDArray[np.int64]
    """[1]"""
    finished: NDArray[np.int64]
    """[L, 2] ring: id and evaluations of the n-th finished game, at n modulo L."""
    grants: NDArray[np.int64]
    """[Q] ring of game ids to play; `tally.grants_used` of them have been opened."""
    grants_made: NDArray[np.int64]
    """[1] ids ever written into the ring."""
    temperatures: NDArray[np.float64]
    """[1 + cards] by the mover's own move: its bid, then its tricks."""
    cursor: NDArray[np.int64]
    """[1] the lane `gather` starts with."""
    tally: NDArray[np.void]
    """[1] of dtype TALLY."""
    deals: Games
    """[FIRST_DEALS] the first games as dealt; the first `tally.grants_used` are filled."""
    values: NDArray[np.float64]
    """[MAX_PLAYERS] scratch."""
    noise: NDArray[np.float64]
    """[moves] scratch."""


def bids_and_two_tricks(own_move: int) -> float:
    """The default temperature schedule: 1 for the bid and the first two tricks, then 0.

    `own_move` counts the mover's own moves: 0 is its bid, n its n-th card.
    """
    return 1.0 if own_move <= 2 else 0.0


def temperature_table(schedule: Schedule | None, cards: int) -> NDArray[np.float64]:
    """[1 + cards] temperatures by the mover's own move: 0 is its bid, n its n-th card.

    Raises ValueError when the schedule returns a number that is negative or not finite.
    """
    schedule = schedule or bids_and_two_tricks
    table = np.array([schedule(move) for move in range(cards + 1)], np.float64)
    if not (np.isfinite(table).all() and (table >= 0).all()):
        raise ValueError(f"temperature_schedule must give finite numbers ≥ 0, not {table.tolist()}")
    return table


def new_lanes(lanes: int, config: SearchConfig) -> Lanes:
    """`lanes` closed lanes, L of them, for games of the setting in `config`."""
    per_example = (lanes, config.players * (config.cards + 1))
    return Lanes(
        lane=np.zeros(lanes, LANE),
        games=np.zeros(lanes, GAME),
        streams=np.zeros(lanes, np.uint64),
        priors=np.zeros((lanes, max_moves(config.cards)), np.float32),
        states=np.zeros((*per_example, STATE_DIM), np.float32),
        legal=np.zeros((*per_example, ACTIONS), np.bool_),
        policy=np.zeros((*per_example, ACTIONS), np.float32),
        mover=np.zeros(per_example, np.int8),
    )


def new_group(
    config: SearchConfig, lanes: int, temperatures: NDArray[np.float64], batch: Batch
) -> Group:
    """A group of `lanes` closed lanes whose positions go into `batch`.

    Args: `temperatures` [1 + cards] by the mover's own move.
    Raises ValueError for an illegal setting, or a batch too small for one lane.
    """
    leaves = config.determinizations * config.leaves
    if len(batch.rows) < leaves:
        raise ValueError(f"a batch of {len(batch.rows)} rows cannot hold {leaves} leaves of a lane")
    rules.check_setting(config.players, config.cards)
    if not 0 < config.full_share <= 1:
        raise ValueError(f"full_share must be above 0 and at most 1, not {config.full_share}")
    if config.full_share < 1 and not 1 <= config.fast_simulations <= config.simulations:
        raise ValueError(
            f"fast_simulations must be 1 to {config.simulations}, not {config.fast_simulations}"
        )
    longest = config.players * (config.cards + 1)
    return Group(
        lanes=new_lanes(lanes, config),
        trees=new_trees(lanes * config.determinizations, config.simulations, config.cards),
        belief=new_belief(),
        batch=batch,
        output=empty_examples(longest * max(16, lanes // 8)),
        output_used=np.zeros(1, np.int64),
        finished=np.zeros((lanes, 2), np.int64),
        grants=np.zeros(max(64, 4 * lanes), np.int64),
        grants_made=np.zeros(1, np.int64),
        temperatures=temperatures,
        cursor=np.zeros(1, np.int64),
        tally=np.zeros(1, TALLY),
        deals=np.zeros(FIRST_DEALS, GAME),
        values=scratch_values(),
        noise=np.zeros(max_moves(config.cards)),
    )


def open_midway(group: Group, config: SearchConfig) -> None:
    """Start each lane's first game after some random moves, so that games end evenly over time.

    The results of these first games are not to be used: their first moves were not searched.
    """
    lanes, moves = len(group.lanes.lane), config.players * (config.cards + 1)
    group.lanes.lane["head_start"] = np.arange(lanes) * moves // lanes


def grant(group: Group, games: Sequence[int]) -> None:
    """Append game ids to play. Raises ValueError when the ring is full."""
    made, used = int(group.grants_made[0]), int(group.tally["grants_used"][0])
    if made + len(games) - used > len(group.grants):
        raise ValueError(f"no room for {len(games)} more games: {made - used} are waiting")
    for k, game in enumerate(games):
        group.grants[(made + k) % len(group.grants)] = game
    group.grants_made[0] = made + len(games)


def take_output(group: Group) -> Examples:
    """Copy the finished games' examples and empty the output."""
    used = int(group.output_used[0])
    taken = Examples._make(column[:used].copy() for column in group.output)
    group.output_used[0] = 0
    return taken
