"""Loading of networks: a checkpoint's weights, else seeded random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from engine.game.rules import check_setting
from engine.network.blobnet import BlobNet, NetworkConfig, build_network
from engine.network.devices import DeviceError, resolve_auto


def check_workload(settings: Settings) -> None:
    """Raise UserError for settings that the engine cannot play."""
    try:
        check_setting(settings.players, settings.cards)
        NetworkConfig.parse(settings.network)
        resolve_auto(settings.device)
    except (ValueError, DeviceError) as error:
        raise UserError(str(error)) from None


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
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"--checkpoint {path}: its weights do not fit --network {config} ({_first_line(error)})"
        ) from None
    return network


def read_weights(path: Path, named: str) -> dict[str, Any]:
    """A state dict from a safetensors or torch file; code in the file is not executed.

    `named` is the file's name in error messages. Raises UserError for a file that is missing or of
    another kind.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return weights
    except FileNotFoundError:
        raise UserError(f"{named}: no such file") from None
    except Exception as error:  # the readers may raise any exception on a file of another kind
        raise UserError(f"{named}: not a file of weights ({_first_line(error)})") from None


def network_of(path: Path, named: str) -> BlobNet:
    """The network of a file of weights, on the CPU; its shape is derived from the weights.

    Raises UserError for a file that is missing or does not hold a network's weights.
    """
    weights = read_weights(path, named)
    try:
        network = build_network(NetworkConfig.of(weights), "cpu")
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{named}: not a network's weights ({_first_line(error)})") from None
    return network


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":")
