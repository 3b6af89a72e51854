"""Loading of networks: a checkpoint's weights, else seeded random ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.memory import check_memory
from engine.game.encoding import STATE_DIM
from engine.game.rules import check_setting
from engine.network.blobnet import BlobNet, NetworkConfig, build_network
from engine.network.devices import DeviceError, resolve_auto
from engine.training.checkpoint import CheckpointError, check_regular, has_checksum

MOST_LAYERS = 1_000
"""Of a network that is read from a file."""


def check_workload(settings: Settings) -> None:
    """Raise UserError for settings that the engine cannot play."""
    try:
        check_setting(settings.players, settings.cards)
        NetworkConfig.parse(settings.network)
        resolve_auto(settings.device)
    except (ValueError, DeviceError) as error:
        raise UserError(str(error)) from None
    check_memory(settings)


def load_network(settings: Settings) -> BlobNet:
    """The network, on the CPU, with the checkpoint's weights or else seeded random ones.

    Raises UserError for a checkpoint that is missing, is not a state dict, or does not fit.
    """
    config = NetworkConfig.parse(settings.network)
    network = build_network(config, "cpu", settings.seed)
    path = settings.checkpoint
    if path is None:
        return network
    weights = read_weights(path, f"--checkpoint {path}")
    different = _difference(network, weights)
    if different:
        raise UserError(
            f"--checkpoint {path}: its weights do not fit --network {config} ({different})"
        )
    network.load_state_dict(weights)
    return network


def read_weights(path: Path, named: str) -> dict[str, Any]:
    """A state dict from a safetensors or torch file; code in the file is not executed.

    `named` is how the errors call it. Raises UserError for a file that is missing, damaged or of
    another kind, and for weights that are not finite numbers.
    """
    try:
        if not path.exists():
            raise UserError(f"{named}: there is no such file")
        check_regular(path)
        if path.suffix == ".safetensors":
            has_checksum(path)
            weights = safetensors.torch.load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):
                weights = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{path}: ").removeprefix(f"{path} is ")
        raise UserError(f"{named}: not a file of weights ({reason})") from None
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{named}: {error.strerror or error}") from None
    except Exception as error:  # the readers raise anything on a file of another kind
        raise UserError(f"{named}: not a file of weights ({_first_line(error)})") from None
    _check_numbers(weights, named)
    return weights


def _check_numbers(weights: object, named: str) -> None:
    """Raises UserError for what is no state dict, and for numbers that are not finite."""
    if not isinstance(weights, Mapping):
        kind = type(weights).__name__
        raise UserError(f"{named}: not a file of weights (it holds a {kind}, not a dict of them)")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            kind = type(value).__name__
            raise UserError(f"{named}: {ascii(name)[:60]} is a {kind}, not a tensor of weights")
        plain = value.layout is torch.strided and value.is_floating_point()
        # A few bytes can be said to be a tensor of any size.
        if not plain or value.untyped_storage().nbytes() < value.nbytes:
            raise UserError(f"{named}: {ascii(name)[:60]} is no plain tensor of numbers")
        if not value.float().isfinite().all():
            raise UserError(f"{named}: {ascii(name)[:60]} holds NaN or infinite numbers")


def _difference(network: torch.nn.Module, weights: Mapping[str, Any]) -> str | None:
    """The first way in which weights do not fit a network; None: they do."""
    wanted = {name: tuple(w.shape) for name, w in network.state_dict().items()}
    for name, shape in wanted.items():
        if name not in weights:
            return f"{name} is missing"
        if tuple(weights[name].shape) != shape:
            return f"{name} has shape {tuple(weights[name].shape)}, not {shape}"
    unknown = next((name for name in weights if name not in wanted), None)
    return None if unknown is None else f"{ascii(unknown)[:60]} is no part of it"


def network_of(path: Path, named: str) -> BlobNet:
    """The network of a file of weights, on the CPU; its shape is derived from the weights.

    Raises UserError for a file that is missing or does not hold a network's weights.
    """
    weights = read_weights(path, named)
    try:
        config = NetworkConfig.of(weights)
        if not 0 < config.num_layers <= MOST_LAYERS or min(config) < 1:
            raise ValueError(f"its shape is {config}")
        # Compared before memory is taken for it.
        with torch.device("meta"):
            different = _difference(BlobNet(STATE_DIM, *config), weights)
        if different:
            raise ValueError(different)
        network = build_network(config, "cpu")
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{named}: not a network's weights ({_first_line(error)})") from None
    return network


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":")
