"""Choose float32 or bfloat16 for inference, by speed on the device and agreement of answers."""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.game.encoding import STATE_DIM, StateEncoder
from engine.game.jit import kernel
from engine.game.rng import States, below, seed_stream
from engine.game.rules import ACTIONS, GAME, Games, deal, play_random
from engine.network.blobnet import CAN_PACK_BFLOAT16, BlobNet, InferenceNet

POLICY_TOLERANCE = 0.03
"""Largest accepted difference of an action's probability, with all actions legal."""
VALUE_TOLERANCE = 0.03
"""Largest accepted difference of a value, in [0, 1]."""
PROBE_ROWS = {"cpu": 192, "cuda": 4096}
"""Rows of a batch that is timed, by kind of device."""
PROBE_ROUNDS = 5
TIE = 1.05
"""Ratio of two speeds on CUDA that counts as equal."""


class Difference(NamedTuple):
    """Largest differences between two networks' answers to the same positions."""

    policy: float
    value: float

    @property
    def within_tolerance(self) -> bool:
        return self.policy <= POLICY_TOLERANCE and self.value <= VALUE_TOLERANCE


@torch.inference_mode()
def policies_and_values(network: InferenceNet, states: Tensor) -> tuple[Tensor, Tensor]:
    """Policy probabilities [B, ACTIONS] and values [B, 8] on the CPU in float32."""
    weight = network.embedding.weight
    answers = network(states.to(weight.device, weight.dtype)).float().cpu()
    return answers[:, :ACTIONS].softmax(1), answers[:, ACTIONS:]


def difference(one: InferenceNet, other: InferenceNet, states: Tensor) -> Difference:
    """Compare two networks on `states` [B, STATE_DIM], each on its own device and dtype."""
    one_policy, one_value = policies_and_values(one, states)
    other_policy, other_value = policies_and_values(other, states)
    return Difference(
        policy=float((one_policy - other_policy).abs().max()),
        value=float((one_value - other_value).abs().max()),
    )


@kernel
def _random_positions(games: Games, streams: States, players: int, cards: int) -> None:
    """Deal each game and make a random number of random moves in it, not to its end."""
    for i in range(len(games)):
        seed_stream(streams, 0, 0, i, 0)
        deal(games[i], players, cards, streams, 0)
        play_random(games[i], below(streams, 0, players * (cards + 1)), streams, 0)


def probe_games(count: int, players: int = 4, cards: int = 5) -> Games:
    """[count] positions of random play, the same ones at every call."""
    games = np.zeros(count, GAME)
    _random_positions(games, np.zeros(1, np.uint64), players, cards)
    return games


def probe_states(rows: int, players: int = 4, cards: int = 5) -> Tensor:
    """The probe games encoded, [rows, STATE_DIM] float32."""
    return torch.from_numpy(StateEncoder().encode(probe_games(rows, players, cards)))


@torch.inference_mode()
def seconds_per_batch(network: InferenceNet, states: Tensor) -> float:
    """Seconds of the fastest of a few forwards of `states` [B, STATE_DIM].

    `states` must have the network's device and dtype.
    """
    best = float("inf")
    for _ in range(PROBE_ROUNDS):
        start = perf_counter()
        network(states)
        if states.device.type == "cuda":
            torch.cuda.synchronize(states.device)
        best = min(best, perf_counter() - start)
    return best


class Trial(NamedTuple):
    """bfloat16 compared with float32 on a device."""

    difference: Difference
    float32_seconds: float
    """Seconds of a batch of PROBE_ROWS."""
    bfloat16_seconds: float
    """The same in bfloat16."""

    @property
    def speedup(self) -> float:
        """Of bfloat16 over float32."""
        return self.float32_seconds / self.bfloat16_seconds


def try_bfloat16(network: BlobNet, device: str) -> Trial:
    """Compare bfloat16 with float32 on `device`: answers, and seconds per batch.

    On the CPU with one thread, as in a search thread. `network` stays unchanged.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = BlobNet(STATE_DIM, *network.config)
        plain.load_state_dict(network.state_dict())
        exact = InferenceNet(plain.to(device).eval())
        fast = InferenceNet(plain).to(torch.bfloat16).pack()
        states = probe_states(PROBE_ROWS[torch.device(device).type])
        return Trial(
            difference(exact, fast, states),
            seconds_per_batch(exact, states.to(device)),
            seconds_per_batch(fast, states.to(device, torch.bfloat16)),
        )
    finally:
        torch.set_num_threads(threads)


def computes_bfloat16(device: str) -> bool:
    """Whether `device` may be fast in bfloat16: not a CPU without oneDNN's kernels for it."""
    kind = torch.device(device).type
    return CAN_PACK_BFLOAT16 if kind == "cpu" else kind != "meta"


def choose_dtype(network: BlobNet, device: str) -> str:
    """bfloat16 if it is faster on `device` and agrees within the tolerances, else float32."""
    kind = torch.device(device).type
    if not computes_bfloat16(device):
        return "float32"
    trial = try_bfloat16(network, device)
    # A small network on a GPU is bound by launches, where noise would decide: bfloat16 wins ties.
    least = 1 / TIE if kind == "cuda" else 1.0
    faster = trial.speedup > least
    return "bfloat16" if faster and trial.difference.within_tolerance else "float32"
