"""Files of weights: what is none, or would play no game, is one line, and nothing of it is run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.weights import load_network, network_of
from engine.network.blobnet import NetworkConfig, build_network, weights_of
from engine.training.checkpoint import write_arrays

SHAPE = NetworkConfig(32, 2, 4, 64)


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def weights(**changes: Any) -> dict[str, Any]:
    return {**build_network(SHAPE, "cpu").state_dict(), **changes}


def with_value(value: float) -> dict[str, Any]:
    state = weights()
    state["layers.1.linear1.weight"][3, 4] = value
    return state


def huge() -> dict[str, Any]:
    """A few bytes that say they are a terabyte."""
    wide = torch.zeros(1).expand(1 << 19, 1 << 19)
    return weights(**{"layers.0.linear1.weight": wide})


SAVED: dict[str, tuple[Callable[[], object], str]] = {
    "NaN": (lambda: with_value(float("nan")), "linear1.weight' holds NaN or infinite numbers"),
    "infinite": (
        lambda: with_value(float("-inf")),
        "linear1.weight' holds NaN or infinite numbers",
    ),
    "a tensor": (lambda: torch.zeros(3), "it holds a Tensor, not a dict"),
    "a list": (lambda: [torch.zeros(3)], "it holds a list, not a dict"),
    "nothing": (lambda: None, "it holds a NoneType, not a dict"),
    "numbers by name": (lambda: {"a": 3}, "'a' is a int, not a tensor"),
    "tensors by number": (lambda: {1: torch.zeros(3)}, "1 is a Tensor, not a tensor of weights"),
    "whole numbers": (
        lambda: weights(**{"embedding.bias": torch.zeros(32, dtype=torch.int64)}),
        "'embedding.bias' is no plain tensor",
    ),
    "sparse": (
        lambda: weights(**{"embedding.bias": torch.zeros(32).to_sparse()}),
        "'embedding.bias' is no plain tensor",
    ),
    "huge": (huge, "'layers.0.linear1.weight' is no plain tensor"),
    "wrong inside": (
        lambda: weights(**{"layers.1.norm1.bias": torch.zeros(31)}),
        "layers.1.norm1.bias has shape (31,), not (32,)",
    ),
    "of no size": (
        lambda: weights(**{"embedding.weight": torch.zeros(0, 100)}),
        "",
    ),
    "more than a network's": (lambda: weights(other=torch.zeros(3)), "'other' is no part of it"),
}


@pytest.mark.parametrize("case", SAVED)
def test_what_would_play_no_game_is_refused_in_a_line(tmp_path: Path, case: str) -> None:
    make, words = SAVED[case]
    path = tmp_path / "weights.pt"
    torch.save(make(), path)
    for load in (
        lambda: network_of(path, "CHECKPOINT weights.pt"),
        lambda: load_network(Settings(checkpoint=path, network=str(SHAPE))),
    ):
        with pytest.raises(UserError) as caught:
            load()
        assert words in str(caught.value)
        assert "weights.pt" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"embedding.weight": Bomb(mark)}, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb(mark)))
    for name in ("torch.pt", "plain.pt"):
        with pytest.raises(UserError, match="not a file of weights"):
            network_of(tmp_path / name, name)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=r"not a file of weights \(no regular file\)"):
        network_of(tmp_path / name, name)


def test_a_changed_bit_of_a_training_run_s_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "000003.safetensors"
    write_arrays(path, weights_of(build_network(SHAPE, "cpu")), {"iteration": 3})
    assert network_of(path, "it").config == SHAPE._replace(num_heads=1)
    # It stays a file that other readers read.
    assert safetensors.torch.load_file(path).keys() == weights().keys()
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    for at in (*random.integers(0, len(content), 40), *random.integers(8, 400, 40)):
        content[at] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a file of weights"):
            network_of(path, "it")
        content[at] ^= 1
