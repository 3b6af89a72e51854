"""The rule player again, written to be read beside its description; on `reference_rules.Game`."""

from __future__ import annotations

from reference_rules import BID, DECK, NO_TRUMP, Game, rank_of, suit_of, winning_play

from engine.matches.rule_player import LEAN, OPTIMISM, TRUMP_RISK


def seen_by_mover(game: Game) -> set[int]:
    """The mover's hand, and every card played."""
    return game.hands[game.mover] | {card for _, card in game.played}


def trick_chance(game: Game, card: int) -> float:
    """How surely the mover's card wins a trick."""
    unseen = set(range(DECK)) - seen_by_mover(game)
    rivals = [seat for seat in range(game.players) if seat != game.mover]
    hidden = sum(len(game.hands[seat]) for seat in rivals)
    if not hidden:
        return 1.0
    suited = {c for c in unseen if suit_of(c) == suit_of(card)}
    higher = sum(rank_of(c) > rank_of(card) for c in suited)
    held = hidden / len(unseen)
    if suit_of(card) == game.trump:
        return (1 - TRUMP_RISK * held) ** higher
    best_of_suit = (1 - held) ** higher
    others = unseen - suited
    if game.trump == NO_TRUMP or not others:
        return best_of_suit
    hand = hidden / len(rivals)
    trumps = sum(suit_of(c) == game.trump for c in unseen)
    void = (1 - len(suited) / len(unseen)) ** hand
    has_trump = 1 - (1 - trumps / len(others)) ** hand
    return best_of_suit * (1 - void * has_trump) ** len(rivals)


def merit(game: Game, action: int) -> float:
    """How much the rule player likes an action; the first of the highest is its move."""
    return bid_merit(game, action - BID) if game.is_bidding() else card_merit(game, action)


def bid_merit(game: Game, bid: int) -> float:
    """The nearer to the tricks expected, the better."""
    made = [b for b in game.bids if b is not None]
    share = len(made) * game.cards / game.players
    hand = sum(trick_chance(game, card) for card in game.hands[game.mover])
    return -abs(bid - (OPTIMISM + hand + LEAN * (share - sum(made))))


def card_merit(game: Game, card: int) -> float:
    """A card that does what the bid needs is worth 2 more than one that does not."""
    bid = game.bids[game.mover]
    assert bid is not None
    needs, chance = bid > game.tricks_won[game.mover], trick_chance(game, card)
    if not game.trick:
        return chance if needs else -chance
    last = len(game.trick) == game.players - 1
    wins = winning_play([*game.trick, (game.mover, card)], game.trump) == (game.mover, card)
    if needs:
        return (2 - chance if last else 2 + chance) if wins else -chance
    return (chance if last else -chance) if wins else 2 + chance
