"""`blobdiag evaluate`: how strong is a network, against others and against players of rules?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import blobdiag.own_engine  # noqa: F401
from blobdiag.commands import session as sessions
from blobdiag.commands.session import Judgement, Session
from blobdiag.errors import UserError
from blobdiag.evaluation_settings import EvaluationSettings
from blobdiag.matches import match_record
from blobdiag.reporting.figures import figure
from blobdiag.reporting.model import Check, Match, Role, Status
from blobdiag.workload import network_of
from engine.devices import resolve_auto
from engine.evaluation import Evaluation, compile_match_kernels
from engine.network import BlobNet, InferenceNet, weights_hash, weights_of
from engine.players import (
    Player,
    random_player,
    raw_player,
    rollout_player,
    rule_player,
    search_player,
)
from engine.run_folder import SUFFIX

COMMAND = "evaluate"
RANDOM, RULES, SEARCH, RAW = "random", "rules", "search", "raw"


@dataclass(frozen=True)
class Named:
    """A player, and what the report calls it."""

    name: str
    player: Player


@dataclass
class Played:
    """A match, as far as it has come."""

    opponent: Named
    evaluation: Evaluation
    begun: float
    seconds: float | None = None
    """None: it has not ended."""


def evaluate(settings: EvaluationSettings) -> int:
    """Play the matches under the sampler; the exit code.

    Raises UserError, in one line, for a player that cannot be had.
    """
    device = resolve_auto(settings.device)
    on = "cuda:0" if device == "cuda" else device
    networks = _networks(settings)
    matches: list[Played] = []

    def measure(session: Session) -> None:
        with session.phase("kernels"):
            compile_match_kernels()
        agent = _named(settings.player, settings, networks, on)
        for text in settings.against:
            opponent = _named(text, settings, networks, on)
            match = Played(opponent, _evaluation(settings, agent, opponent), monotonic())
            matches.append(match)
            session.at_work.append(match.evaluation)
            wanted = match.evaluation.scores.shape[0] * match.evaluation.scores.shape[1]
            with session.phase(f"against {opponent.name}"):
                match.evaluation.play(lambda ended, of=wanted: session.show_matches(ended, of))
            match.seconds = monotonic() - match.begun

    player = _title(settings.player, settings, networks)
    return sessions.run(COMMAND, device, settings, measure, lambda _: judge(player, matches))


def judge(player: str, played: list[Played]) -> Judgement:
    """Each match by its finished deals, with whether it is won, lost or open: a remark."""
    matches = [
        match_record(player, match.opponent.name, result, match.seconds)
        for match in played
        if (result := match.evaluation.result()) is not None
    ]
    return Judgement(
        headline=" ".join(_sentence(match) for match in matches),
        checks=[_stronger(match) for match in matches],
        matches=matches,
    )


def _sentence(match: Match) -> str:
    """'search 3 × 30 of a.safetensors is 0.52 points a deal ahead of rules (0.35 to 0.69).'"""
    ahead, interval = match.difference.value or 0.0, match.difference.interval
    between = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    return f"{match.player} against {match.opponent}: {ahead:+.2f} points a deal{between}."


def _stronger(match: Match) -> Check:
    """Whether the interval excludes that both are level; it never decides the exit code."""
    interval = match.difference.interval
    status = Status.INCONCLUSIVE
    if interval is not None and interval.low > 0:
        status = Status.PASS
    elif interval is not None and interval.high < 0:
        status = Status.FAIL
    half = None if interval is None else (interval.high - interval.low) / 2
    deals = f"{match.deals:,} deals"
    return Check(
        name=f"ahead of {match.opponent}",
        role=Role.ADVISORY,
        status=status,
        expectation="> 0 points a deal, with the whole interval",
        source="duplicate deals, 95 % interval clustered by deal",
        observation=f"{_sentence(match)} By {deals}.",
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


def _networks(settings: EvaluationSettings) -> dict[str, BlobNet]:
    """The networks that are named, read from their files. Raises UserError."""
    networks = {}
    for option, text in (
        ("CHECKPOINT", settings.player),
        *(("--against", t) for t in settings.against),
    ):
        if text not in (RANDOM, RULES, SEARCH, RAW):
            named = f"{option} {text}"
            networks[text] = network_of(_file(Path(text), named), named)
    if RAW in settings.against and settings.player not in networks:
        raise UserError(f"--against raw: {settings.player} has no network to play without a search")
    if settings.player == RAW:
        raise UserError("CHECKPOINT raw: name the file of the network; --against raw plays without")
    return networks


def _file(path: Path, named: str) -> Path:
    """The file itself; of the folder of a training run its newest network."""
    if not path.is_dir():
        return path
    networks = sorted((path / "networks").glob(f"*{SUFFIX}"))
    if not networks:
        raise UserError(
            f"{named}: a folder, but not of a training run: it has no networks/*{SUFFIX}"
        )
    return networks[-1]


def _title(text: str, settings: EvaluationSettings, networks: dict[str, BlobNet]) -> str:
    """How the report calls a player; weights by their hash, since files are overwritten."""
    search = f"{settings.determinizations} × {settings.simulations}"
    if text == SEARCH:
        return f"search {search} without a network"
    if text not in networks:
        return text
    hashed = weights_hash(weights_of(networks[text]))[:8]
    return f"search {search} of {Path(text).name} ({hashed})"


def _named(
    text: str, settings: EvaluationSettings, networks: dict[str, BlobNet], device: str
) -> Named:
    depth = settings.determinizations, settings.simulations
    title = _title(text, settings, networks)
    if text == RANDOM:
        return Named(title, random_player())
    if text == RULES:
        return Named(title, rule_player())
    if text == SEARCH:
        return Named(title, rollout_player(*depth))
    raw = text == RAW
    network = InferenceNet(networks[settings.player if raw else text].to(device)).eval()
    return Named(title, raw_player(network) if raw else search_player(network, *depth))


def _evaluation(settings: EvaluationSettings, agent: Named, opponent: Named) -> Evaluation:
    return Evaluation(
        agent.player,
        opponent.player,
        settings.deals,
        settings.players,
        settings.cards,
        seed=settings.seed,
        threads=settings.threads,
        lanes=settings.lanes,
    )
