"""`blobdiag check-gpu`: do the self-play workers use the GPU? (the bug report's Test 1)"""

from __future__ import annotations

from blobdiag.diagnosis.checks import device_reaches_workers, starved, unknown
from blobdiag.diagnosis.evidence import SELF_PLAY
from blobdiag.diagnosis.expectations import with_overrides
from blobdiag.diagnosis.verdict import with_validity
from blobdiag.diagnosis.window_checks import (
    health_checks,
    idle_gaps_of,
    machine_checks,
    utilisation,
    window_rules,
)
from blobdiag.measure import session as sessions
from blobdiag.measure.session import Judgement, Session
from blobdiag.measure.verify_fix import verify_fix
from blobdiag.model.report import Check, Metric, Status
from blobdiag.model.settings import Settings
from blobdiag.targets.protocol import Arm
from engine.network.devices import DeviceUnavailable

COMMAND = "check-gpu"


def check_gpu(settings: Settings, verify: bool = False) -> int:
    """Measure a window of self-play on the GPU and judge it; the exit code.

    `verify` has the costliest finding's remedy applied and measured.
    """
    device = "cuda" if settings.device == "auto" else settings.device

    def measure(session: Session) -> None:
        try:
            with session.phase("set-up"):
                arm = session.engine.arm(session.settings, device)
        except DeviceUnavailable as error:
            session.failure = str(error)
            if verify:
                session.event("not-verified", "without the device there is no fix to verify")
            prove_elsewhere(session)
            return
        with session.playing(arm):
            with session.phase("warm-up", device):
                arm.warm_up(session.show_games)
            with session.phase(SELF_PLAY, device):
                session.window(arm, settings.min_seconds, settings.games)
            session.probe(arm)
        if verify:
            verify_fix(session, arm, session.report(judge(session), None).findings)

    return sessions.run(COMMAND, device, settings, measure, judge)


def prove_elsewhere(session: Session) -> None:
    """Start real workers on torch's meta device: whether it reaches them needs no GPU."""
    device = session.engine.proof_device
    if device is not None:
        with session.playing(session.engine.arm(session.settings, device)):
            pass


def judge(session: Session) -> Judgement:
    """Test 1: the device in every worker, and a GPU that is busy with what it should do."""
    expectations = with_overrides(session.settings.expect)
    workers = [record for arm in session.arms for record in arm.workers()]
    on_meta = proven_elsewhere(session)
    device = session.arms[0].device if session.arms else session.device
    checks = [device_reaches_workers(workers, device, on_meta=on_meta)]
    if on_meta or not session.arms:
        why = session.failure or "interrupted before self-play began"
        checks.append(unknown(f"{SELF_PLAY} GPU utilisation", expectations["self-play-gpu"], why))
        return Judgement(headline(session, checks[0]), checks)
    arm = session.arms[0]
    rules = window_rules(session, arm, session.settings.min_seconds, session.settings.games)
    checks.append(utilisation(session, SELF_PLAY, rules, session.gpu_uuids))
    gaps = idle_gaps_of(session, session.gpu_uuids)
    if not arm.windows:
        return Judgement(headline(session, checks[0]), checks, idle_gaps=gaps, validity=rules)
    throughput = arm.throughput()
    achieved = throughput.evaluations_per_second.value
    attained = best_rate(session, arm)
    share = starved(
        achieved,
        attained,
        session.device,
        expectations["bare-network-share"],
        session.engine.unseen,
    )
    checks.append(with_validity(share, rules))
    checks += health_checks(session, [throughput]) + machine_checks(session, throughput)
    return Judgement(
        headline(session, checks[0]),
        checks,
        metrics=[bare_metric(attained, session.engine.unseen)],
        idle_gaps=gaps,
        validity=rules,
    )


def headline(session: Session, device_check: Check) -> str:
    """Do the workers use the device? In a sentence."""
    if device_check.status is Status.FAIL:
        return f"The workers do not use {session.device}: their networks are elsewhere."
    if device_check.status is not Status.PASS:
        return ""
    if proven_elsewhere(session):
        return "No GPU was measured. The device does reach the workers' networks."
    return f"The workers' networks are on {session.device}."


def proven_elsewhere(session: Session) -> bool:
    """Whether the workers were only started on the device that stands for an absent one."""
    return any(arm.device == session.engine.proof_device for arm in session.arms)


def best_rate(session: Session, arm: Arm) -> float | None:
    """The network alone at its best batch size, evals/s; None where it was not measured."""
    probes = session.probes.get(arm.device)
    rates = [rate.evaluations_per_second for rate in probes.bare_network] if probes else []
    return max(rates, default=None)


def bare_metric(attained: float | None, unseen: str | None) -> Metric:
    """What the workers reach with the network alone, all at once; `unseen` says why not at all."""
    unknown = unseen or "it was not measured"
    return Metric(
        name="bare network",
        value=attained,
        unit="evals/s",
        samples=0 if attained is None else 1,
        reason="the best batch size, without an interval" if attained else unknown,
    )
