"""`blobdiag evaluate`: matches of a network against other networks and rule-based players."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from blobdiag.measure.measurement import Measurement
from blobdiag.measure.session import Session
from blobdiag.model.evaluation_settings import EvaluationSettings
from blobdiag.targets.builtin.devices import first_gpu, resolve_auto
from blobdiag.targets.builtin.match_players import MatchPlayers, OngoingMatch
from blobdiag.targets.builtin.run_configuration import read_configuration


def evaluate(settings: EvaluationSettings) -> Measurement:
    """Play the matches under the sampler. Raises UserError for a player that cannot be loaded."""
    settings = as_trained(settings)
    device = resolve_auto(settings.device)
    players = MatchPlayers(settings, first_gpu(device))
    games = settings.deals * settings.players

    def measure(session: Session) -> None:
        matches: list[OngoingMatch] = []
        session.matches = lambda: [r for one in matches if (r := one.record()) is not None]
        for text in settings.against:
            match = players.match(text)
            matches.append(match)
            session.at_work.append(match)
            with session.phase(f"against {match.opponent}"):
                # The phase has the opponent's name.
                match.play(lambda ended: session.show_matches("", ended, games))

    return Measurement("evaluate", device, settings, measure)


def as_trained(settings: EvaluationSettings) -> EvaluationSettings:
    """Settings with the game and search of a training's folder, unless the command line gives them.

    Unchanged if the player is no such folder. Raises UserError if its configuration cannot be read.
    """
    path = Path(settings.player) / "run.json"
    if not path.exists() or not path.with_name("networks").is_dir():
        return settings
    kept = read_configuration(path, f"CHECKPOINT {settings.player}").at_the_end()
    values: dict[str, Any] = {n: v for n, v in kept.items() if n not in settings.given}
    settings = replace(settings, **values)
    settings.check()
    return settings
