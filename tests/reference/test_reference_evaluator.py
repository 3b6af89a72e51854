"""The hash evaluator: known answers, exact ranges, and what it may depend on."""

import random

from hash_evaluator import MASK, START, evaluate_game, evaluate_key, hash_key, mix, visible_key
from hypothesis import given
from hypothesis import strategies as st
from reference_belief import unseen_cards
from reference_rules import deal


def test_mix_is_the_finaliser_of_splitmix64() -> None:
    """The first three outputs of splitmix64 seeded with 0."""
    outputs = [mix(START * i) for i in (1, 2, 3)]

    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_known_hash_values() -> None:
    assert hash_key(()) == START
    assert hash_key((0,)) == 0xE220A8397B1DCDAF
    assert hash_key((-1,)) == hash_key((MASK,))
    assert hash_key((1, 2)) != hash_key((2, 1))


def test_a_known_evaluation() -> None:
    """Numbers that a C program of the same definition gives."""
    priors, values = evaluate_key((3, 1, -4), [0, 51, 53, 65], 4)

    assert hash_key((3, 1, -4)) == 0x422C48B8ADED5530
    assert [256 * prior for prior in priors] == [177, 109, 113, 222]
    assert [256 * value for value in values] == [23, 90, 195, 120]
    assert evaluate_key((2,), [0], 8)[1][6] == 1.0, "a value may be as large as 1"


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8),
    st.sets(st.integers(0, 65), min_size=1).map(sorted),
    st.integers(3, 8),
)
def test_evaluations_are_multiples_of_a_256th(key: list[int], legal: list[int], n: int) -> None:
    priors, values = evaluate_key(key, legal, n)

    assert len(priors) == len(legal)
    assert len(values) == n
    assert all(1 <= 256 * p <= 255 and (256 * p).is_integer() for p in priors)
    assert all(0 <= 256 * v <= 256 and (256 * v).is_integer() for v in values)


@given(st.integers(0, 2**32 - 1), st.integers(0, 15))
def test_unseen_cards_do_not_matter(seed: int, moves: int) -> None:
    rng = random.Random(seed)
    game = deal(4, 3, dealer=rng.randrange(4), trump=rng.randrange(5), rng=rng)
    for _ in range(moves):
        game.apply(rng.choice(game.legal_actions()))
    other = game.copy()
    unseen = sorted(unseen_cards(game, game.mover))
    for seat in range(4):
        if seat != game.mover:
            other.hands[seat] = set(rng.sample(unseen, len(game.hands[seat])))

    assert visible_key(other) == visible_key(game)
    assert evaluate_game(other) == evaluate_game(game)


def test_a_move_changes_the_evaluation() -> None:
    game = deal(4, 3, dealer=0, trump=2, rng=random.Random(3))
    seen = []
    while not game.is_over():
        seen.append(visible_key(game))
        game.apply(game.legal_actions()[0])

    assert len(seen) == len(set(seen)) == 16
