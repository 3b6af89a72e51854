"""Matches in lockstep: all games of a table, of two sides with a batch each.

A match game has the agent in one seat and copies of the opponent in the others; the games of a
deal differ in the agent's seat alone, so that the luck of the cards cancels. The two sides share
their lanes, and each has its own trees and its own batch: a lane waits for one side at a time.
A step is, for each side, `gather_side`, its network, and `scatter` as in self-play.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game import rules
from engine.game.bits import count_bits, nth_bit
from engine.game.jit import kernel
from engine.game.rng import below, seed_stream
from engine.game.rules import GAME, Game, Games, is_over, legal_mask, play_forced, play_move
from engine.matches.players import NETWORK, RANDOM, RULES, Player
from engine.matches.rollouts import rollout_move
from engine.matches.rule_player import rule_move
from engine.search.batches import batch_rows, new_batch
from engine.search.decision import choose, sum_visits
from engine.search.gather import emit, search_lane
from engine.search.lanes import (
    CLOSED,
    DEAL_STREAM,
    OPENING,
    ROOT,
    SEARCHING,
    Group,
    SearchConfig,
    new_group,
    temperature_table,
)
from engine.search.trees import NONE

FIRST_DEAL = 1 << 40
"""Number of an evaluation's first deal, which self-play, counting from 0, never reaches."""
NOT_PLAYED = -1
"""The score of a game that has not ended."""


class Side(NamedTuple):
    """The agent, or the opponent in all other seats, and the arrays it chooses moves with."""

    is_agent: bool
    kind: int
    """As `engine.matches.players` numbers them."""
    search: SearchConfig
    group: Group
    """Both sides' groups have the same lanes."""
    end: Games
    """[1] scratch: the end of a rollout."""


class Table(NamedTuple):
    """Games to play, and their scores."""

    games: NDArray[np.int64]
    """[G] numbers of the games, in the order they are played. Game n is deal n // players, with
    the agent in seat n % players."""
    opened: NDArray[np.int64]
    """[1] number of games begun."""
    finished: NDArray[np.int64]
    """[1] number of games ended."""
    scores: NDArray[np.int16]
    """[games of all tables, players] points of each seat, NOT_PLAYED before the end."""


def new_sides(
    agent: Player, opponent: Player, config: SearchConfig, lanes: int, pinned: bool = False
) -> tuple[Side, Side]:
    """Both sides of a table with `lanes` games in progress; `config` gives setting and seed."""
    sides = [_new_side(player, config, lanes, pinned) for player in (agent, opponent)]
    shared = sides[0].group.lanes
    theirs = sides[1].group._replace(lanes=shared)
    return sides[0]._replace(is_agent=True), sides[1]._replace(group=theirs)


def _new_side(player: Player, config: SearchConfig, lanes: int, pinned: bool) -> Side:
    search = config._replace(
        determinizations=player.determinizations,
        simulations=player.simulations,
        noise_share=0.0,
    )
    rows = batch_rows(lanes, max(1, search.determinizations)) if player.kind == NETWORK else 1
    batch = new_batch(max(rows, search.determinizations), pinned)
    group = new_group(search, lanes, temperature_table(None, config.cards), batch)
    return Side(False, player.kind, search, group, np.zeros(1, GAME))


@kernel
def open_next(table: Table, group: Group, config: SearchConfig, lane: int) -> bool:
    """Deal the table's next game in a closed lane; returns False if none is left."""
    if table.opened[0] == len(table.games):
        return False
    lanes, number = group.lanes, table.games[table.opened[0]]
    table.opened[0] += 1
    deal = FIRST_DEAL + number // config.players
    seed_stream(lanes.streams, lane, config.seed, deal, DEAL_STREAM)
    rules.deal(lanes.games[lane], config.players, config.cards, lanes.streams, lane)
    lanes.lane[lane].game_id = FIRST_DEAL + number
    lanes.lane[lane].evaluations = 0
    lanes.lane[lane].decisions = 0
    lanes.lane[lane].stage = OPENING
    return True


@kernel
def close(table: Table, game: Game, number: int) -> None:
    """Store the scores of a finished game."""
    for seat in range(game.players):
        made = game.bids[seat] == game.tricks[seat]
        table.scores[number, seat] = 10 + game.bids[seat] if made else 0
    table.finished[0] += 1


@kernel
def choose_searched(side: Side, lane: int) -> int:
    """Index of the most visited move; without a search, of the move with the highest prior."""
    lanes = side.group.lanes
    weights = lanes.priors[lane]
    if side.search.determinizations > 0:
        sum_visits(side.group, side.search, lane, weights)
    return choose(weights, count_bits(legal_mask(lanes.games[lane])), 0.0, lanes.streams, lane)


@kernel
def choose_at_once(side: Side, lane: int) -> int:
    """The move, a bit position of `legal_mask`, of a player without a network."""
    lanes = side.group.lanes
    game, state = lanes.games[lane], lanes.lane[lane]
    if side.kind == RULES:
        return rule_move(game)
    seed_stream(lanes.streams, lane, side.search.seed, state.game_id, 1 + state.decisions)
    legal = legal_mask(game)
    if side.kind == RANDOM:
        return nth_bit(legal, below(lanes.streams, lane, count_bits(legal)))
    return nth_bit(legal, rollout_move(side.group, side.search, lane, side.end))


@kernel
def advance(table: Table, side: Side, lane: int, row: int) -> int:
    """Play the side's moves in a lane until one needs its network; returns the next free row.

    Closes games that end and opens others on the way.
    """
    lanes = side.group.lanes
    state, game = lanes.lane[lane], lanes.games[lane]
    while True:
        if state.stage == CLOSED and not open_next(table, side.group, side.search, lane):
            return row
        if state.stage == OPENING:
            play_forced(game)
            if is_over(game):
                close(table, game, state.game_id - FIRST_DEAL)
                state.stage = CLOSED
                continue
        agent_to_move = game.mover == (state.game_id - FIRST_DEAL) % game.players
        if agent_to_move != side.is_agent:
            return row
        if state.stage == SEARCHING:
            after = search_lane(side.group, side.search, lane, row)
            if after > row:
                return after
            play_move(game, nth_bit(legal_mask(game), choose_searched(side, lane)))
        elif side.kind == NETWORK:
            state.stage = ROOT
            return emit(side.group.batch, row, lane, NONE, 0, game)
        else:
            play_move(game, choose_at_once(side, lane))
        state.decisions += 1
        state.stage = OPENING


@kernel
def gather_side(table: Table, side: Side) -> int:
    """Advance the lanes in turn until the side's batch is full; returns the number of filled rows.

    A lane that found no room is the first of the next step.
    """
    group, row = side.group, 0
    lanes = len(group.lanes.lane)
    first = group.cursor[0]
    for k in range(lanes):
        if row + max(1, side.search.determinizations) > len(group.batch.rows):
            break
        row = advance(table, side, (first + k) % lanes, row)
        group.cursor[0] = (first + k + 1) % lanes
    return row


def is_finished(table: Table) -> bool:
    """Whether all games of the table have ended."""
    return bool(table.finished[0] == len(table.games))
