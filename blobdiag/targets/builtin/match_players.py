"""The players of `evaluate`: networks with or without a search, and players without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.errors import UserError
from blobdiag.model.evaluation_settings import EvaluationSettings
from blobdiag.model.training import Match
from blobdiag.targets.builtin.matches import match_record
from blobdiag.targets.builtin.weights import network_of
from engine.matches.evaluation import Evaluation
from engine.matches.players import (
    Player,
    random_player,
    raw_player,
    rollout_player,
    rule_player,
    search_player,
)
from engine.matches.strength import RANDOM, RAW, RULES
from engine.network.blobnet import BlobNet, InferenceNet, weights_hash, weights_of
from engine.training.run_folder import NAME, SUFFIX

SEARCH = "search"
"""The player that searches without a network."""


class OngoingMatch:
    """A match that may be in progress."""

    def __init__(self, player: str, opponent: str, evaluation: Evaluation) -> None:
        self.player, self.opponent = player, opponent
        self._evaluation = evaluation
        self._seconds: float | None = None
        """Duration of the match; None until it has ended."""

    @property
    def at_work(self) -> bool:
        return self._evaluation.at_work

    def play(self, on_progress: Callable[[int], None]) -> None:
        """Play all deals; `on_progress` is called with the number of finished games."""
        begun = monotonic()
        self._evaluation.play(on_progress)
        self._seconds = monotonic() - begun

    def record(self) -> Match | None:
        """The result of the finished deals; None if there are none."""
        result = self._evaluation.result()
        if result is None:
            return None
        return match_record(self.player, self.opponent, result, self._seconds)


class MatchPlayers:
    """The evaluated player and its opponents."""

    def __init__(self, settings: EvaluationSettings, device: str) -> None:
        """Load the networks. Raises UserError for a player that cannot be loaded."""
        self._settings, self._device = settings, device
        self._networks = _networks(settings)

    @property
    def player(self) -> str:
        """The evaluated player's name in the report."""
        return self._name(self._settings.player)

    def match(self, against: str) -> OngoingMatch:
        """A match against `against`, not started. Raises torch's errors for an absent device."""
        settings = self._settings
        evaluation = Evaluation(
            self._player(settings.player),
            self._player(against),
            settings.deals,
            settings.players,
            settings.cards,
            seed=settings.seed,
            threads=settings.threads,
            lanes=settings.lanes,
        )
        return OngoingMatch(self.player, self._name(against), evaluation)

    def _name(self, text: str) -> str:
        """A player's name; for weights with their hash, since files may be overwritten."""
        depth = f"{self._settings.determinizations} × {self._settings.simulations}"
        if text == SEARCH:
            return f"search {depth} without a network"
        if text not in self._networks:
            return text
        file, network = self._networks[text]
        return f"search {depth} of {file.name} ({weights_hash(weights_of(network))[:8]})"

    def _player(self, text: str) -> Player:
        depth = self._settings.determinizations, self._settings.simulations
        if text == RANDOM:
            return random_player()
        if text == RULES:
            return rule_player()
        if text == SEARCH:
            return rollout_player(*depth)
        whose = self._settings.player if text == RAW else text
        network = InferenceNet(self._networks[whose].network.to(self._device)).eval()
        return raw_player(network) if text == RAW else search_player(network, *depth)


class _Loaded(NamedTuple):
    """A network and the file it is from."""

    file: Path
    network: BlobNet


def _networks(settings: EvaluationSettings) -> dict[str, _Loaded]:
    """The networks by the text that names them. Raises UserError if one cannot be loaded."""
    found = {}
    asked = [("CHECKPOINT", settings.player), *(("--against", text) for text in settings.against)]
    for option, text in asked:
        if text not in (RANDOM, RULES, SEARCH, RAW):
            named = f"{option} {text}"
            file = _file(Path(text), named)
            found[text] = _Loaded(file, network_of(file, named))
    if settings.player == RAW:
        raise UserError("CHECKPOINT raw: raw is for --against only; give a network")
    if RAW in settings.against and settings.player not in found:
        raise UserError(f"--against raw: {settings.player} has no network of its own")
    return found


def _file(path: Path, named: str) -> Path:
    """The file, or the newest network of a training's folder. Raises UserError if it has none."""
    if not path.is_dir():
        return path
    found = (path / "networks").glob(f"*{SUFFIX}")
    networks = sorted(one for one in found if NAME.fullmatch(one.name))
    if not networks:
        raise UserError(f"{named}: not the folder of a training run: no networks/*{SUFFIX}")
    return networks[-1]
