"""Memory sizes of the engine of blobdiag 0.1, whose reports do not hold them.

Constants of that version: do not change them. A newer engine writes its sizes into the report.
"""

from __future__ import annotations

from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.report import Report

STATE_DIM, ACTIONS, SEATS = 256, 66, 8
ANSWERS = ACTIONS + SEATS
LANE, GAME, NODE, EDGE, TREE = 64, 120, 32, 24, 12
"""Bytes of a lane's, a game's, a node's, an edge's and a tree's record."""


def old_memory_figures(report: Report) -> MemoryFigures | None:
    """Sizes from the report's configuration; None if that lacks the network or the search."""
    network, search = _network(report), _search(report)
    if network is None or search is None:
        return None
    dim, layers, _, wide = network
    return MemoryFigures(
        parameters=_parameters(dim, layers, wide),
        inference_parameters=_inference_parameters(dim, layers, wide),
        folding_bytes=8 * (layers + 4) * dim**2,
        activation_row_bytes={
            "float32": 4 * (STATE_DIM + ANSWERS) + 4 * (3 * dim + wide),
            "bfloat16": 4 * (STATE_DIM + ANSWERS) + 2 * (STATE_DIM + 3 * dim + wide),
        },
        training_row_bytes=_training_row_bytes(dim, layers, wide),
        batch_row_bytes=24 + 4 * (STATE_DIM + ANSWERS),
        lane_bytes=_lane_bytes(*search),
        trees_per_lane=search[2],
        example_bytes=5 * ACTIONS + 4 * STATE_DIM + 5 * SEATS + 8 + 4,
        row_multiple=16,
        full_share=0.75,
        groups_per_thread=2,
    )


def _network(report: Report) -> tuple[int, ...] | None:
    """(embedding, layers, heads, feed-forward) of the option EMB-LAYERS-HEADS-FF."""
    text = report.configuration.get("network")
    parts = text.split("-") if isinstance(text, str) else []
    if len(parts) != 4 or not all(part.isdecimal() and int(part) for part in parts):
        return None
    return tuple(map(int, parts))


def _search(report: Report) -> tuple[int, ...] | None:
    names = ("players", "cards", "determinizations", "simulations")
    values = [report.configuration.get(name) for name in names]
    known = [value for value in values if isinstance(value, int) and value > 0]
    return tuple(known) if len(known) == len(values) else None


def _parameters(d: int, layers: int, f: int) -> int:
    layer = 4 * (d * d + d) + 2 * d * f + f + d + 4 * d
    policy = d * d + d + d * ACTIONS + ACTIONS
    value = d * (d // 2) + d // 2 + (d // 2) * SEATS + SEATS
    return (STATE_DIM + 1) * d + layers * layer + policy + value


def _inference_parameters(d: int, layers: int, f: int) -> int:
    hidden = d + d // 2
    attention = (layers - 1) * (d * d + d)
    rest = layers * (2 * d * f + f + d + 4 * d)
    return (STATE_DIM + 1) * d + attention + rest + (d + 1) * hidden + (hidden + 1) * ANSWERS


def _training_row_bytes(d: int, layers: int, f: int) -> int:
    floats = STATE_DIM + layers * (5 * d + f + 4) + d + d + d // 2 + 2 * ANSWERS
    return 4 * floats + 2 * ACTIONS + SEATS


def _lane_bytes(players: int, cards: int, determinizations: int, simulations: int) -> int:
    decisions, moves = players * (cards + 1), cards + 1
    examples = decisions * (4 * STATE_DIM + ACTIONS + 4 * ACTIONS + 1)
    tree = TREE + (simulations + 1) * (NODE + GAME + moves * EDGE)
    return LANE + GAME + 8 + 4 * moves + examples + determinizations * tree
