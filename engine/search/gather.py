"""The first half of a lockstep step: bring lanes to where they need the network."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from engine.game import rules
from engine.game.encoding import encode, mask_actions
from engine.game.jit import inlined, kernel
from engine.game.rng import seed_stream
from engine.game.rules import Game, is_bidding, is_over, legal_mask
from engine.search.decision import decide
from engine.search.lanes import (
    CLOSED,
    DEAL_STREAM,
    OPENING,
    ROOT,
    SEARCHING,
    Batch,
    Group,
    SearchConfig,
)
from engine.search.trees import NONE, next_leaf


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
    """Copy a row; numba's slice assignment would allocate, in case the rows overlap."""
    for i in range(len(target)):
        target[i] = source[i]


@inlined
def emit(batch: Batch, row: int, lane: int, tree: int, node: int, game: Game) -> int:
    """Write a position into row `row` of the batch; returns the next free row."""
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
    """Play forced moves, then put the root into the batch; returns the next free row.

    If the game is over instead, the lane stays in its stage.
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
    """Search each tree of a lane to its next leaf; returns the next free row.

    It is `row` itself once every tree has done its simulations.
    """
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
def finish_game(group: Group, lane: int) -> None:
    """Move the lane's examples to the output and close the lane; no-op while the output is full."""
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
    """Whether a granted game has not been opened yet."""
    return group.tally[0].grants_used < group.grants_made[0]


@inlined
def advance(group: Group, config: SearchConfig, lane: int, row: int) -> int:
    """Play one lane on until it needs the network or is closed; returns the next free row."""
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
    """Advance the lanes in turn until each needs the network, or the batch is full.

    Returns the number of filled rows of `group.batch`; 0 means that every lane is closed, or waits
    for room in the output. A lane that found no room in the batch is the first of the next step,
    so with more lanes than a batch holds every batch is full. Games that ended are in the ring
    `group.finished`, up to `tally.games`.
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
