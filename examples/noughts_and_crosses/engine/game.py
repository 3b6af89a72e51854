"""Noughts and crosses. A board is nine numbers: 0 free, 1 the player to move, -1 the other."""

from __future__ import annotations

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def moves(board: list[int]) -> list[int]:
    """The free squares."""
    return [square for square, owner in enumerate(board) if not owner]


def after(board: list[int], square: int) -> list[int]:
    """The board after a move, seen by the other player."""
    return [-owner for owner in [*board[:square], 1, *board[square + 1 :]]]


def lost(board: list[int]) -> bool:
    """Whether the player to move has lost."""
    return any(all(board[square] == -1 for square in line) for line in LINES)
