"""`blobdiag evaluate`: how strong is a network, against others and against players of rules?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.measure import session as sessions
from blobdiag.measure.session import Judgement, Session
from blobdiag.model.errors import UserError
from blobdiag.model.evaluation_settings import EvaluationSettings
from blobdiag.model.figures import figure
from blobdiag.model.report import Check, Match, Role, Status
from blobdiag.render.words import signed
from blobdiag.targets.builtin.arm import network_of
from blobdiag.targets.builtin.matches import match_record
from blobdiag.targets.builtin.run_configuration import RunConfiguration
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
from engine.network.devices import resolve_auto
from engine.training.run_folder import SUFFIX

COMMAND = "evaluate"
SEARCH = "search"
"""Without a network."""


@dataclass
class Played:
    """A match, as far as it has come."""

    opponent: str
    evaluation: Evaluation
    seconds: float | None = None
    """None: it has not ended."""


def evaluate(settings: EvaluationSettings) -> int:
    """Play the matches under the sampler; the exit code.

    Raises UserError, in one line, for a player that cannot be had.
    """
    settings = as_trained(settings)
    device = resolve_auto(settings.device)
    on = "cuda:0" if device == "cuda" else device
    kept = _kept(settings)
    played: list[Played] = []
    games = settings.deals * settings.players

    def measure(session: Session) -> None:
        agent = _player(settings.player, settings, kept, on)
        for text in settings.against:
            opponent = _player(text, settings, kept, on)
            match = Played(_name(text, settings, kept), _evaluation(settings, agent, opponent))
            played.append(match)
            session.at_work.append(match.evaluation)
            begun = monotonic()
            with session.phase(f"against {match.opponent}"):
                # The phase has the opponent's name.
                match.evaluation.play(lambda ended: session.show_matches("", ended, games))
            match.seconds = monotonic() - begun

    player = _name(settings.player, settings, kept)
    return sessions.run(COMMAND, device, settings, measure, lambda _: judge(player, played))


def as_trained(settings: EvaluationSettings) -> EvaluationSettings:
    """Of the folder of a training, its own game and search where the command line says no other.

    Raises UserError for a folder whose configuration cannot be read.
    """
    path = Path(settings.player) / "run.json"
    if not path.is_file() or not path.with_name("networks").is_dir():
        return settings
    try:
        kept = RunConfiguration.read(path.read_text(), path).at_the_end()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"CHECKPOINT {settings.player}: cannot read {path.name}: {error}") from None
    values: dict[str, Any] = {n: v for n, v in kept.items() if n not in settings.given}
    settings = replace(settings, **values)
    settings.check()
    return settings


def judge(player: str, played: list[Played]) -> Judgement:
    """Each match by its finished deals, with whether it is won, lost or open: a remark."""
    matches = [
        match_record(player, match.opponent, result, match.seconds)
        for match in played
        if (result := match.evaluation.result()) is not None
    ]
    results = "; ".join(f"{_result(match)} against {match.opponent}" for match in matches)
    return Judgement(
        headline=f"{player}, points a deal ahead: {results}." if matches else "",
        checks=[_stronger(match) for match in matches],
        matches=matches,
    )


def _result(match: Match) -> str:
    """'+0.52 (+0.35 to +0.69)'."""
    interval = match.difference.interval
    between = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    return signed(match.difference) + between


def _stronger(match: Match) -> Check:
    """Whether the interval excludes that both are level; it never decides the exit code."""
    interval = match.difference.interval
    status = Status.INCONCLUSIVE
    if interval is not None and interval.low > 0:
        status = Status.PASS
    elif interval is not None and interval.high < 0:
        status = Status.FAIL
    half = None if interval is None else (interval.high - interval.low) / 2
    return Check(
        name=f"ahead of {match.opponent}",
        role=Role.ADVISORY,
        status=status,
        expectation="> 0 points a deal, with the whole interval",
        source="duplicate deals, 95 % interval clustered by deal",
        observation=f"{_result(match)} by {match.deals:,} deals",
        evidence=[_deals_for(match, half)] if half and status is Status.INCONCLUSIVE else [],
        validity=[],
    )


def _deals_for(match: Match, half: float) -> str:
    """How many deals would tell a difference as large as the one that was seen from none."""
    seen = abs(match.difference.value or 0.0)
    if seen < half / 10:
        return "level, as far as these deals can tell"
    return f"a difference of {figure(seen)} points would take about " + (
        f"{round(match.deals * (half / seen) ** 2):,} deals to tell from none"
    )


# -- players ----------------------------------------------------------------------------------


class Kept(NamedTuple):
    """A network and the file it is from."""

    file: Path
    network: BlobNet


def _kept(settings: EvaluationSettings) -> dict[str, Kept]:
    """The networks that are asked for, by what names them. Raises UserError."""
    kept = {}
    asked = [("CHECKPOINT", settings.player), *(("--against", text) for text in settings.against)]
    for option, text in asked:
        if text not in (RANDOM, RULES, SEARCH, RAW):
            named = f"{option} {text}"
            file = _file(Path(text), named)
            kept[text] = Kept(file, network_of(file, named))
    if settings.player == RAW:
        raise UserError("CHECKPOINT raw: name a network; --against raw is its own policy")
    if RAW in settings.against and settings.player not in kept:
        raise UserError(f"--against raw: {settings.player} has no network of its own")
    return kept


def _file(path: Path, named: str) -> Path:
    """The file itself; of the folder of a training run its newest network. Raises UserError."""
    if not path.is_dir():
        return path
    networks = sorted((path / "networks").glob(f"*{SUFFIX}"))
    if not networks:
        raise UserError(f"{named}: a folder, but none of a training run: no networks/*{SUFFIX}")
    return networks[-1]


def _name(text: str, settings: EvaluationSettings, kept: dict[str, Kept]) -> str:
    """How the report calls a player; weights by their hash too, since files are overwritten."""
    depth = f"{settings.determinizations} × {settings.simulations}"
    if text == SEARCH:
        return f"search {depth} without a network"
    if text not in kept:
        return text
    hashed = weights_hash(weights_of(kept[text].network))[:8]
    return f"search {depth} of {kept[text].file.name} ({hashed})"


def _player(text: str, settings: EvaluationSettings, kept: dict[str, Kept], on: str) -> Player:
    """The player, its network on a device. Raises what torch raises where that is not there."""
    depth = settings.determinizations, settings.simulations
    if text == RANDOM:
        return random_player()
    if text == RULES:
        return rule_player()
    if text == SEARCH:
        return rollout_player(*depth)
    whose = settings.player if text == RAW else text
    network = InferenceNet(kept[whose].network.to(on)).eval()
    return raw_player(network) if text == RAW else search_player(network, *depth)


def _evaluation(settings: EvaluationSettings, agent: Player, opponent: Player) -> Evaluation:
    return Evaluation(
        agent,
        opponent,
        settings.deals,
        settings.players,
        settings.cards,
        seed=settings.seed,
        threads=settings.threads,
        lanes=settings.lanes,
    )
