"""Lanes: games in progress, each with its trees, all waiting for the same network batch.

One step of a group of lanes is `gather` (search every tree to its next leaf, play decisions that
are complete, refill lanes whose game ended, write all positions that need the network into the
batch), the network, and `scatter` (expand and back up). Nothing is allocated in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game import rules
from engine.game.belief import Belief, determinize, new_belief, prepare
from engine.game.bits import count_bits, lowest_bit
from engine.game.encoding import STATE_DIM, encode, mask_actions, relabel_action
from engine.game.jit import inlined, kernel
from engine.game.rng import States, gamma, seed_stream, uniform
from engine.game.rules import ACTIONS, BID, GAME, Game, Games, is_bidding, is_over, legal_mask
from engine.search.trees import (
    NONE,
    Trees,
    back_up,
    expand,
    max_moves,
    new_trees,
    next_leaf,
    reset,
    scratch_values,
    seat_values,
)
from engine.training.replay import Examples, empty_examples

CLOSED, OPENING, ROOT, SEARCHING = 0, 1, 2, 3
"""A lane's stage: no game; a decision to prepare; its root at the network; its trees at work."""

DEAL_STREAM = 0
"""Stream 0 of a game deals it; stream 1 + k belongs to its k-th searched decision."""

FIRST_DEALS = 32
"""A group keeps so many of its deals, for who asks whether other workers play the same."""

Schedule = Callable[[int], float]


class SearchConfig(NamedTuple):
    """What every decision is searched with; numbers, so that kernels take it as it is."""

    players: int = 4
    cards: int = 5
    determinizations: int = 3
    simulations: int = 30
    c_puct: float = 0.25
    noise_share: float = 0.25
    noise_alpha: float = 0.3
    seed: int = 0
    full_share: float = 1.0
    """Of the decisions: they are searched in full, and become examples."""
    fast_simulations: int = 1
    """Of all other decisions, which have no noise (playout cap randomization, Wu 2019)."""
    leaves: int = 1
    """Of one tree, collected before any is expanded; more than 1 is a fault on purpose."""


LANE = np.dtype(
    [
        ("stage", np.int8),  # CLOSED, OPENING, ROOT or SEARCHING
        ("game_id", np.int64),  # -1 while closed
        ("head_start", np.int64),  # moves to make at random when it next opens
        ("evaluations", np.int64),  # network evaluations of the game so far
        ("decisions", np.int64),  # searched decisions of the game so far
        ("examples", np.int64),  # of them, those searched in full
        ("simulations", np.int32),  # of each tree of the decision at hand
        ("in_full", np.bool_),  # whether it becomes an example
        ("games", np.int64),  # games finished here
    ],
    align=True,
)


class Lanes(NamedTuple):
    """L games in progress and the decision each is at; K searched decisions at most a game."""

    lane: NDArray[np.void]
    """[L] of dtype LANE."""
    games: Games
    """[L]"""
    streams: States
    """[L] random stream of the decision at hand."""
    priors: NDArray[np.float32]
    """[L, moves] scratch: a root's priors, noise mixed in; later its visits."""
    states: NDArray[np.float32]
    """[L, K, STATE_DIM] examples of the game so far, and the decision at hand."""
    legal: NDArray[np.bool_]
    """[L, K, ACTIONS]"""
    policy: NDArray[np.float32]
    """[L, K, ACTIONS]"""
    mover: NDArray[np.int8]
    """[L, K] absolute seat."""


ROW = np.dtype(
    [
        ("legal", np.int64),  # the position's `legal_mask`
        ("lane", np.int32),
        ("tree", np.int32),  # NONE: the row is the lane's root
        ("node", np.int32),
        ("mover", np.int8),
        ("trump", np.int8),
        ("bidding", np.bool_),
    ],
    align=True,
)
"""Where a row of a batch belongs, and what its answer is read with."""


class Batch(NamedTuple):
    """Positions at the network: rows 0..count-1 of each array."""

    rows: NDArray[np.void]
    """[B] of dtype ROW."""

    states: NDArray[np.float32]
    """[B, STATE_DIM]"""
    answers: NDArray[np.float32]
    """[B, ANSWERS] the network's: policy logits, suits as encoded; then the seats' values in
    [0, 1], counted from the mover."""


TALLY = np.dtype(
    [
        ("steps", np.int64),  # lockstep steps taken
        ("batches", np.int64),  # of them, those with rows for the network
        ("computed", np.int64),  # rows the network computed, padding included
        ("evaluations", np.int64),  # of them, rows that hold a position
        ("distinct", np.int64),  # of them, (tree, node) pairs not evaluated before
        ("simulations", np.int64),
        ("deep", np.int64),  # simulations whose leaf lies deeper than one move
        ("shallow_ends", np.int64),  # simulations that could not: the game ends after one move
        ("decisions", np.int64),  # searched moves played
        ("kl", np.float64),  # sum over them of KL(visits || uniform), nats
        ("games", np.int64),  # games finished
        ("game_evaluations", np.int64),  # evaluations of finished games
        ("settled", np.int64),  # lanes that have finished a game
        ("grants_used", np.int64),  # games taken from the grants
    ]
)
"""What a group of lanes has done since it was made; only ever grows."""


class Group(NamedTuple):
    """Everything one search thread works on."""

    lanes: Lanes
    trees: Trees
    belief: Belief
    batch: Batch
    output: Examples
    """Finished games' examples, emptied by the caller; `output_used` rows are filled."""
    output_used: NDArray[np.int64]
    """[1]"""
    finished: NDArray[np.int64]
    """[L, 2] ring: id and evaluations of the n-th game finished, at n modulo L."""
    grants: NDArray[np.int64]
    """[Q] ring of game ids to play; `tally.grants_used` of them are taken."""
    grants_made: NDArray[np.int64]
    """[1] how many ids were ever written into the ring."""
    temperatures: NDArray[np.float64]
    """[1 + cards] by the mover's own move: its bid, then its tricks."""
    cursor: NDArray[np.int64]
    """[1] the lane that `gather` begins with."""
    tally: NDArray[np.void]
    """[1] of dtype TALLY."""
    deals: Games
    """[FIRST_DEALS] the first games as they were dealt; `tally.grants_used` of them are there."""
    values: NDArray[np.float64]
    """[MAX_PLAYERS] scratch."""
    noise: NDArray[np.float64]
    """[moves] scratch."""


def bids_and_two_tricks(own_move: int) -> float:
    """The default temperature schedule: 1 for the bid and the first two tricks, then 0."""
    return 1.0 if own_move <= 2 else 0.0


def temperature_table(schedule: Schedule | None, cards: int) -> NDArray[np.float64]:
    """[1 + cards] temperatures by the mover's own move, 0 being its bid.

    Raises ValueError when the schedule gives something that is no temperature.
    """
    schedule = schedule or bids_and_two_tricks
    table = np.array([schedule(move) for move in range(cards + 1)], np.float64)
    if not (np.isfinite(table).all() and (table >= 0).all()):
        raise ValueError(f"temperature_schedule must give finite numbers ≥ 0, not {table.tolist()}")
    return table


def new_group(
    config: SearchConfig, lanes: int, temperatures: NDArray[np.float64], batch: Batch
) -> Group:
    """Room for `lanes` games in progress, whose positions go into `batch`.

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
    per_example = (lanes, longest)
    return Group(
        lanes=Lanes(
            lane=np.zeros(lanes, LANE),
            games=np.zeros(lanes, GAME),
            streams=np.zeros(lanes, np.uint64),
            priors=np.zeros((lanes, max_moves(config.cards)), np.float32),
            states=np.zeros((*per_example, STATE_DIM), np.float32),
            legal=np.zeros((*per_example, ACTIONS), np.bool_),
            policy=np.zeros((*per_example, ACTIONS), np.float32),
            mover=np.zeros(per_example, np.int8),
        ),
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
    """Let each lane's first game begin in its middle, so that games end evenly from the start.

    What such a game has behind it was not searched: its results are for no one.
    """
    lanes, moves = len(group.lanes.lane), config.players * (config.cards + 1)
    group.lanes.lane["head_start"] = np.arange(lanes) * moves // lanes


def grant(group: Group, games: Sequence[int]) -> None:
    """Append game ids to be played. Raises ValueError when the ring is full."""
    made, used = int(group.grants_made[0]), int(group.tally["grants_used"][0])
    if made + len(games) - used > len(group.grants):
        raise ValueError(f"no room for {len(games)} more games: {made - used} still wait")
    for k, game in enumerate(games):
        group.grants[(made + k) % len(group.grants)] = game
    group.grants_made[0] = made + len(games)


@kernel
def open_game(group: Group, config: SearchConfig, lane: int) -> None:
    """Deal the next granted game in a closed lane."""
    lanes, tally = group.lanes, group.tally[0]
    game_id = group.grants[tally.grants_used % len(group.grants)]
    seed_stream(lanes.streams, lane, config.seed, game_id, DEAL_STREAM)
    rules.deal(lanes.games[lane], config.players, config.cards, lanes.streams, lane)
    if tally.grants_used < len(group.deals):
        group.deals[tally.grants_used] = lanes.games[lane]
    tally.grants_used += 1
    rules.play_random(lanes.games[lane], lanes.lane[lane].head_start, lanes.streams, lane)
    lanes.lane[lane].head_start = 0
    lanes.lane[lane].game_id = game_id
    lanes.lane[lane].evaluations = 0
    lanes.lane[lane].decisions = 0
    lanes.lane[lane].examples = 0
    lanes.lane[lane].stage = OPENING


@kernel
def copy_row(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy a row; numba's own assignment makes room for rows that overlap."""
    for i in range(len(target)):
        target[i] = source[i]


@inlined
def emit(batch: Batch, row: int, lane: int, tree: int, node: int, game: Game) -> int:
    """Put a position into the batch; returns the next free row."""
    encode(game, batch.states[row])
    entry = batch.rows[row]
    entry.legal = legal_mask(game)
    entry.lane = lane
    entry.tree = tree
    entry.node = node
    entry.mover = game.mover
    entry.trump = game.trump
    entry.bidding = is_bidding(game)
    return row + 1


@kernel
def prepare_decision(group: Group, lane: int, row: int) -> int:
    """Play what is forced, then send the root to the network; the next free row.

    Without a decision left the game is over and the lane stays in its stage.
    """
    lanes = group.lanes
    rules.play_forced(lanes.games[lane])
    if is_over(lanes.games[lane]):
        return row
    k = lanes.lane[lane].examples
    row = emit(group.batch, row, lane, NONE, 0, lanes.games[lane])
    copy_row(lanes.states[lane, k], group.batch.states[row - 1])
    mask_actions(lanes.games[lane], lanes.legal[lane, k])
    lanes.mover[lane, k] = lanes.games[lane].mover
    lanes.lane[lane].stage = ROOT
    return row


@inlined
def search_lane(group: Group, config: SearchConfig, lane: int, row: int) -> int:
    """Bring each tree of a lane to its next leaf; the next free row, unchanged if all are done."""
    tally, limit = group.tally[0], group.lanes.lane[lane].simulations
    for d in range(config.determinizations):
        t = lane * config.determinizations + d
        for waiting in range(config.leaves):
            before = group.trees.tree[t].simulations
            node, depth, deep, shallow_ends = next_leaf(
                group.trees, t, limit - waiting, config.c_puct, group.values
            )
            tally.simulations += group.trees.tree[t].simulations - before
            tally.deep += deep
            tally.shallow_ends += shallow_ends
            if node == NONE:
                break
            tally.deep += depth > 1
            row = emit(group.batch, row, lane, t, node, group.trees.games[t, node])
    return row


@kernel
def sum_visits(group: Group, config: SearchConfig, lane: int, visits: NDArray[np.float32]) -> float:
    """Visits of each root move over all determinizations into `visits` [moves]; their sum."""
    trees, total = group.trees, 0.0
    first = lane * config.determinizations
    for k in range(trees.nodes[first, 0].num_edges):
        visits[k] = 0.0
        for d in range(config.determinizations):
            t = first + d
            visits[k] += trees.edges[t, trees.nodes[t, 0].first_edge + k].visits
        total += visits[k]
    return total


@kernel
def choose(
    weights: NDArray[np.float32], n: int, temperature: float, streams: States, i: int
) -> int:
    """An index below n drawn with probability ∝ weight^(1/temperature); at 0 the first largest."""
    best = 0
    for k in range(n):
        if weights[k] > weights[best]:
            best = k
    if temperature == 0.0:
        return best
    total = 0.0
    for k in range(n):
        total += (weights[k] / weights[best]) ** (1.0 / temperature)
    mark = uniform(streams, i) * total
    for k in range(n):
        mark -= (weights[k] / weights[best]) ** (1.0 / temperature)
        if mark < 0.0:
            return k
    return best


@kernel
def decide(group: Group, config: SearchConfig, lane: int) -> None:
    """All trees of the lane are done: record the visits, choose by them, play."""
    lanes, tally = group.lanes, group.tally[0]
    game = lanes.games[lane]
    visits = lanes.priors[lane]
    total = sum_visits(group, config, lane, visits)
    legal = legal_mask(game)
    moves = count_bits(legal)
    bidding = is_bidding(game)
    own_move = 0 if bidding else 1 + game.tricks_done
    picked = choose(visits, moves, group.temperatures[own_move], lanes.streams, lane)
    policy = lanes.policy[lane, lanes.lane[lane].examples]
    policy[:] = 0.0
    kl, move = 0.0, 0
    for k in range(moves):
        candidate = lowest_bit(legal)
        legal &= legal - np.int64(1)
        share = visits[k] / total
        policy[relabel_action(candidate + (BID if bidding else 0), game.trump)] = share
        if share > 0.0:
            kl += share * np.log(share * moves)
        if k == picked:
            move = candidate
    tally.decisions += 1
    tally.kl += kl
    lanes.lane[lane].decisions += 1
    lanes.lane[lane].examples += lanes.lane[lane].in_full
    rules.play_move(game, move)
    lanes.lane[lane].stage = OPENING


@kernel
def finish_game(group: Group, lane: int) -> None:
    """Move the lane's examples to the output and close it; nothing while the output is full."""
    lanes, output, tally = group.lanes, group.output, group.tally[0]
    used, count = group.output_used[0], lanes.lane[lane].examples
    if used + count > len(output.game):
        return
    game = lanes.games[lane]
    for k in range(count):
        row = used + k
        copy_row(output.states[row], lanes.states[lane, k])
        copy_row(output.legal[row], lanes.legal[lane, k])
        copy_row(output.policy[row], lanes.policy[lane, k])
        output.outcome[row] = 0.0
        output.seats[row] = False
        output.game[row] = lanes.lane[lane].game_id
        for turn in range(game.players):
            seat = (lanes.mover[lane, k] + turn) % game.players
            output.outcome[row, turn] = rules.value(game, seat)
            output.seats[row, turn] = True
    group.output_used[0] = used + count
    entry = tally.games % len(group.finished)
    group.finished[entry, 0] = lanes.lane[lane].game_id
    group.finished[entry, 1] = lanes.lane[lane].evaluations
    tally.games += 1
    tally.game_evaluations += lanes.lane[lane].evaluations
    lanes.lane[lane].game_id = -1
    lanes.lane[lane].games += 1
    tally.settled += lanes.lane[lane].games == 1
    lanes.lane[lane].stage = CLOSED


@kernel
def has_grant(group: Group) -> bool:
    """Whether a granted game waits to be opened."""
    return group.tally[0].grants_used < group.grants_made[0]


@inlined
def advance(group: Group, config: SearchConfig, lane: int, row: int) -> int:
    """Bring one lane to where it needs the network, or to its end; the next free row."""
    state = group.lanes.lane[lane]
    if state.stage == SEARCHING:
        after = search_lane(group, config, lane, row)
        if after > row:
            return after
        decide(group, config, lane)
    if state.stage == OPENING:
        row = prepare_decision(group, lane, row)
        if state.stage == OPENING:
            finish_game(group, lane)
    if state.stage == CLOSED and has_grant(group):
        open_game(group, config, lane)
        row = prepare_decision(group, lane, row)
    return row


@kernel
def gather(group: Group, config: SearchConfig) -> int:
    """Advance lanes, in turn, to where they need the network, until the batch is full.

    Returns how many rows of it are filled. With more lanes than a batch holds, every batch is full
    and of one size; a lane that found no room is the first of the next step. The games that ended
    stand in the ring `finished` up to `tally.games`. No rows means that every lane is closed, or
    waits for room in the output.
    """
    row, lanes = 0, len(group.lanes.lane)
    first = group.cursor[0]
    for k in range(lanes):
        if row + config.determinizations * config.leaves > len(group.batch.rows):
            break
        row = advance(group, config, (first + k) % lanes, row)
        group.cursor[0] = (first + k + 1) % lanes
    group.tally[0].steps += 1
    group.tally[0].batches += row > 0
    return row


@kernel
def softmax(answer: NDArray[np.float32], row: Any, priors: NDArray[np.float32]) -> int:
    """Probabilities of the row's legal moves, in their order, into `priors` [moves]; how many."""
    legal = row.legal
    n = count_bits(legal)
    base = BID if row.bidding else 0
    highest = np.float32(-np.inf)
    for k in range(n):
        logit = answer[relabel_action(base + lowest_bit(legal), row.trump)]
        legal &= legal - np.int64(1)
        priors[k] = logit
        highest = max(highest, logit)
    total = 0.0
    for k in range(n):
        priors[k] = np.exp(priors[k] - highest)
        total += priors[k]
    for k in range(n):
        priors[k] /= total
    return n


@kernel
def mix_noise(
    priors: NDArray[np.float32],
    n: int,
    noise: NDArray[np.float64],
    config: SearchConfig,
    streams: States,
    i: int,
) -> None:
    """Mix Dirichlet(alpha) noise into n priors; one draw for all of a decision's trees.

    `noise` [moves] is scratch.
    """
    if config.noise_share == 0.0:
        return
    total = 0.0
    for k in range(n):
        noise[k] = gamma(streams, i, config.noise_alpha)
        total += noise[k]
    if total <= 0.0:
        return
    for k in range(n):
        priors[k] += config.noise_share * (noise[k] / total - priors[k])


@kernel
def plant_trees(group: Group, config: SearchConfig, row: Any, own_value: float) -> None:
    """Start a lane's trees: one determinization each, all with the same root evaluation."""
    lanes, trees, lane = group.lanes, group.trees, row.lane
    prepare(group.belief, lanes.games[lane])
    for d in range(config.determinizations):
        t = lane * config.determinizations + d
        reset(trees, t)
        trees.games[t, 0] = lanes.games[lane]
        determinize(group.belief, trees.games[t, 0], lanes.streams, lane)
        expand(trees, t, 0, row.legal, row.mover, lanes.priors[lane], own_value)
    lanes.lane[lane].stage = SEARCHING


@kernel
def scatter_root(group: Group, config: SearchConfig, r: int) -> None:
    """Take the network's answer for a lane's root, and start its trees."""
    lanes, batch, tally = group.lanes, group.batch, group.tally[0]
    row = batch.rows[r]
    lane = row.lane
    tally.evaluations += 1
    tally.distinct += 1
    lanes.lane[lane].evaluations += 1
    decision = 1 + lanes.lane[lane].decisions
    seed_stream(lanes.streams, lane, config.seed, lanes.lane[lane].game_id, decision)
    n = softmax(batch.answers[r], row, lanes.priors[lane])
    in_full = config.full_share == 1.0 or uniform(lanes.streams, lane) < config.full_share
    lanes.lane[lane].in_full = in_full
    lanes.lane[lane].simulations = config.simulations if in_full else config.fast_simulations
    if in_full:
        mix_noise(lanes.priors[lane], n, group.noise, config, lanes.streams, lane)
    plant_trees(group, config, row, batch.answers[r, ACTIONS])


@inlined
def scatter_leaf(group: Group, config: SearchConfig, r: int) -> None:
    """Take the network's answer for a leaf: expand it and back it up."""
    lanes, trees, batch, tally = group.lanes, group.trees, group.batch, group.tally[0]
    row = batch.rows[r]
    lane, t, n = row.lane, row.tree, row.node
    tally.evaluations += 1
    tally.simulations += 1
    tally.distinct += not trees.nodes[t, n].evaluated
    lanes.lane[lane].evaluations += 1
    softmax(batch.answers[r], row, lanes.priors[lane])
    seat_values(row.mover, config.players, batch.answers[r, ACTIONS:], group.values)
    expand(trees, t, n, row.legal, row.mover, lanes.priors[lane], batch.answers[r, ACTIONS])
    back_up(trees, t, n, group.values)


@kernel
def scatter(group: Group, config: SearchConfig, rows: int) -> None:
    """Take the network's answers for rows 0..rows-1 of the batch."""
    for r in range(rows):
        if group.batch.rows[r].tree == NONE:
            scatter_root(group, config, r)
        else:
            scatter_leaf(group, config, r)


def take_output(group: Group) -> Examples:
    """Copy out the finished games' examples and empty the output."""
    used = int(group.output_used[0])
    taken = Examples._make(column[:used].copy() for column in group.output)
    group.output_used[0] = 0
    return taken
