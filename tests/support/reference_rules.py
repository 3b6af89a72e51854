"""Blob (Oh Hell), written to be read beside the rule text rather than to be fast.

Cards are numbered ``suit * 13 + rank``: suits 0..3, ranks 0 (two) to 12 (ace). ``NO_TRUMP`` (4)
stands for a game without trump. Seats are 0..players-1 and the turn passes to ``seat + 1``.
Playing card ``c`` is action ``c``; bidding ``b`` is action ``BID + b``.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

RANKS = 13
DECK = 52
NO_TRUMP = 4
BID = DECK

Trick = list[tuple[int, int]]


def suit_of(card: int) -> int:
    """The suit, 0..3."""
    return card // RANKS


def rank_of(card: int) -> int:
    """The rank, 0 (two) to 12 (ace)."""
    return card % RANKS


def winning_play(trick: Trick, trump: int) -> tuple[int, int]:
    """The (seat, card) that wins ``trick``: the highest trump, else the highest of the led suit."""
    led = suit_of(trick[0][1])
    trumps = [play for play in trick if suit_of(play[1]) == trump]
    followers = [play for play in trick if suit_of(play[1]) == led]
    return max(trumps or followers, key=lambda play: rank_of(play[1]))


class Game:
    """One deal of Blob with every card known: first the bids, then the tricks.

    Attributes:
        hands: the set of cards that each seat still holds.
        dealer: the seat that bids last; the seat to its left bids and leads first.
        trump: the trump suit, or ``NO_TRUMP``.
        players: the number of seats.
        cards: the number of cards dealt to each seat, hence of tricks.
        bids: the bid of each seat, ``None`` until it is made.
        tricks_won: the number of tricks that each seat has won.
        trick: the (seat, card) plays of the unfinished trick, in order; empty between tricks.
        leader: the seat that leads, or led, the current trick.
        played: every (seat, card) play of the game, in order.
        voids: for each seat the suits that everyone knows it to lack, since it did not follow them.
    """

    def __init__(self, hands: Iterable[Iterable[int]], dealer: int, trump: int) -> None:
        self.hands: list[set[int]] = [set(hand) for hand in hands]
        self.dealer = dealer
        self.trump = trump
        self.players = len(self.hands)
        self.cards = len(self.hands[0])
        self.bids: list[int | None] = [None] * self.players
        self.tricks_won = [0] * self.players
        self.trick: Trick = []
        self.leader = (dealer + 1) % self.players
        self.played: Trick = []
        self.voids: list[set[int]] = [set() for _ in self.hands]

        if any(len(hand) != self.cards for hand in self.hands):
            raise ValueError("every seat must be dealt the same number of cards")
        if len(set().union(*self.hands)) != self.players * self.cards:
            raise ValueError("a card was dealt twice")

    def copy(self) -> Game:
        """An independent game in the same position."""
        twin = Game.__new__(Game)
        twin.hands = [set(hand) for hand in self.hands]
        twin.dealer = self.dealer
        twin.trump = self.trump
        twin.players = self.players
        twin.cards = self.cards
        twin.bids = list(self.bids)
        twin.tricks_won = list(self.tricks_won)
        twin.trick = list(self.trick)
        twin.leader = self.leader
        twin.played = list(self.played)
        twin.voids = [set(suits) for suits in self.voids]
        return twin

    def is_bidding(self) -> bool:
        """Whether some seat has yet to bid."""
        return None in self.bids

    def is_over(self) -> bool:
        """Whether every trick has been played."""
        return sum(self.tricks_won) == self.cards

    @property
    def mover(self) -> int:
        """The seat to bid or play (once the game is over: the winner of the last trick)."""
        turns_taken = self._bids_made() if self.is_bidding() else len(self.trick)
        return (self.leader + turns_taken) % self.players

    def winning(self) -> tuple[int, int] | None:
        """The (seat, card) now winning the unfinished trick, or ``None`` if nobody has led."""
        return winning_play(self.trick, self.trump) if self.trick else None

    def legal_actions(self) -> list[int]:
        """The actions open to the mover, in ascending order; none once the game is over."""
        return self._legal_bids() if self.is_bidding() else self._legal_cards()

    def apply(self, action: int) -> None:
        """Let the mover bid or play; whoever wins a completed trick leads the next."""
        if action not in self.legal_actions():
            raise ValueError(f"action {action} is not legal for seat {self.mover}")
        if self.is_bidding():
            self.bids[self.mover] = action - BID
        else:
            self._play(self.mover, action)

    def scores(self) -> list[int]:
        """What each seat scores: 10 + bid for exactly the tricks that it bid, else nothing."""
        return [
            0 if bid is None or bid != won else 10 + bid
            for bid, won in zip(self.bids, self.tricks_won, strict=True)
        ]

    def values(self) -> list[float]:
        """The scores as shares of the largest score that this deal allows, 10 + cards."""
        return [score / (10 + self.cards) for score in self.scores()]

    def _bids_made(self) -> int:
        return sum(bid is not None for bid in self.bids)

    def _legal_bids(self) -> list[int]:
        bids = range(self.cards + 1)
        if self.mover != self.dealer:
            return [BID + bid for bid in bids]
        bid_so_far = sum(bid for bid in self.bids if bid is not None)
        return [BID + bid for bid in bids if bid_so_far + bid != self.cards]

    def _legal_cards(self) -> list[int]:
        hand = self.hands[self.mover]
        if not self.trick:
            return sorted(hand)
        led = suit_of(self.trick[0][1])
        followers = [card for card in hand if suit_of(card) == led]
        return sorted(followers or hand)

    def _play(self, seat: int, card: int) -> None:
        self.hands[seat].remove(card)
        self.trick.append((seat, card))
        self.played.append((seat, card))

        led = suit_of(self.trick[0][1])
        if suit_of(card) != led:
            self.voids[seat].add(led)

        if len(self.trick) == self.players:
            winner, _ = winning_play(self.trick, self.trump)
            self.tricks_won[winner] += 1
            self.leader = winner
            self.trick = []


def deal(players: int, cards: int, dealer: int, trump: int, rng: Random) -> Game:
    """A new game with ``cards`` random cards for each of ``players`` seats."""
    deck = rng.sample(range(DECK), players * cards)
    hands = [deck[seat * cards : (seat + 1) * cards] for seat in range(players)]
    return Game(hands, dealer, trump)
