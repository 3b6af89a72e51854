"""float32 or bfloat16 for inference: measured on the device, and only if the answers agree."""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from engine.encoding import STATE_DIM
from engine.network import BlobNet, InferenceNet

POLICY_TOLERANCE = 0.03
"""Largest difference of a move's probability, all 66 actions taken as legal."""
VALUE_TOLERANCE = 0.03
"""Largest difference of a value, on its scale of [0, 1]."""
PROBE_ROWS = {"cpu": 192, "cuda": 4096}
PROBE_ROUNDS = 5


class Difference(NamedTuple):
    """Largest differences between two networks' answers to the same positions."""

    policy: float
    value: float

    @property
    def within_tolerance(self) -> bool:
        return self.policy <= POLICY_TOLERANCE and self.value <= VALUE_TOLERANCE


@torch.inference_mode()
def answers(network: InferenceNet, states: Tensor) -> tuple[Tensor, Tensor]:
    """Policy probabilities [B, ACTIONS] and values [B, 8] on the CPU in float32."""
    weight = network.embedding.weight
    logits, values = network(states.to(weight.device, weight.dtype))
    return logits.float().softmax(1).cpu(), values.float().cpu()


def difference(one: InferenceNet, other: InferenceNet, states: Tensor) -> Difference:
    """Compare two networks on `states` [B, STATE_DIM], wherever each of them lives."""
    one_policy, one_value = answers(one, states)
    other_policy, other_value = answers(other, states)
    return Difference(
        policy=float((one_policy - other_policy).abs().max()),
        value=float((one_value - other_value).abs().max()),
    )


def probe_states(rows: int) -> Tensor:
    """Seeded stand-ins for positions, [rows, STATE_DIM]: a tenth of the floats are set."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(rows, STATE_DIM, generator=generator) < 0.1).float()


@torch.inference_mode()
def seconds_per_batch(network: InferenceNet, states: Tensor) -> float:
    """The fastest of a few forwards, seconds; `states` on the network's device and dtype."""
    best = float("inf")
    for _ in range(PROBE_ROUNDS):
        start = perf_counter()
        network(states)
        if states.device.type == "cuda":
            torch.cuda.synchronize(states.device)
        best = min(best, perf_counter() - start)
    return best


def choose_dtype(network: BlobNet, device: str) -> str:
    """bfloat16 where it is faster on `device` and agrees with float32, else float32.

    The CPU is probed with one thread, as search threads use it.
    """
    kind = torch.device(device).type
    if kind == "meta":
        return "float32"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = BlobNet(STATE_DIM, *network.config)
        plain.load_state_dict(network.state_dict())
        exact = InferenceNet(plain.to(device).eval())
        fast = InferenceNet(plain).to(torch.bfloat16)
        states = probe_states(PROBE_ROWS[kind])
        if not difference(exact, fast, states).within_tolerance:
            return "float32"
        seconds = {
            dtype: seconds_per_batch(candidate, states.to(device, dtype))
            for dtype, candidate in ((torch.float32, exact), (torch.bfloat16, fast))
        }
    finally:
        torch.set_num_threads(threads)
    return "bfloat16" if seconds[torch.bfloat16] < seconds[torch.float32] else "float32"
