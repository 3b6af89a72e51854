"""`blobdiag compare`: is the GPU worth it? (the bug report's Test 2)"""

from __future__ import annotations

from contextlib import ExitStack

from blobdiag.diagnosis.checks import (
    device_reaches_workers,
    outputs_agree,
    speedup,
)
from blobdiag.diagnosis.evidence import SELF_PLAY
from blobdiag.diagnosis.expectations import with_overrides
from blobdiag.diagnosis.verdict import with_validity
from blobdiag.diagnosis.window_checks import (
    health_checks,
    idle_gaps_of,
    machine_checks,
    validity,
    window_rules,
)
from blobdiag.measure import session as sessions
from blobdiag.measure.session import Judgement, Session
from blobdiag.model.figures import figure
from blobdiag.model.report import Check, Throughput
from blobdiag.model.settings import Settings
from blobdiag.targets.protocol import Arm
from engine.network.devices import cuda_reason, resolve_auto
from engine.network.precision import POLICY_TOLERANCE, Difference

COMMAND = "compare"
ROUNDS = 4
"""Windows of each arm, in turn, so that a slow drift of the machine meets both alike."""
FLOAT32_TOLERANCE = 1e-3
"""Largest difference of a probability or value between devices in float32."""


def compare(settings: Settings) -> int:
    """Measure self-play on each device in turn, with the same seeds; the exit code."""
    device = resolve_auto(settings.device)
    devices = ["cpu"] if device == "cpu" else ["cpu", device]
    differences: list[Difference | None] = []

    def measure(session: Session) -> None:
        with session.phase("set-up"):
            # The GPU first: if it is not there, nothing has been started in vain.
            arms = {
                name: session.engine.arm(settings_for(session, name), name)
                for name in reversed(devices)
            }
        if len(devices) > 1 and session.engine.unseen is None:
            with session.phase("outputs compared"):
                differences.append(arms[device].outputs_differ())
        with ExitStack() as stack:
            for name in devices:
                stack.enter_context(session.playing(arms[name]))
                with session.phase("warm-up", name):
                    arms[name].warm_up(session.show_games)
            play_in_turn(session, [arms[name] for name in devices])
            for name in devices:
                session.probe(arms[name])

    return sessions.run(
        COMMAND, device, settings, measure, lambda session: judge(session, differences)
    )


def settings_for(session: Session, device: str) -> Settings:
    """What `--tuned` found is the asked device's: the CPU beside a GPU keeps its own defaults."""
    return session.settings if device == session.device else session.as_asked


def play_in_turn(session: Session, arms: list[Arm]) -> None:
    """Give every arm its seconds and games, in alternating windows."""
    settings, rounds = session.settings, ROUNDS if len(arms) > 1 else 1
    for _ in range(rounds):
        for arm in arms:
            with session.phase(SELF_PLAY, arm.device):
                session.window(arm, settings.min_seconds / rounds, -(-settings.games // rounds))


def judge(session: Session, differences: list[Difference | None]) -> Judgement:
    """Test 2: the speed-up's lower bound, and the same answers on both devices."""
    settings, expectations = session.settings, with_overrides(session.settings.expect)
    measured = [arm for arm in session.arms if arm.windows]
    throughputs = {arm.device: arm.throughput() for arm in measured}
    on_gpu = session.device.startswith("cuda")
    alone = None
    if not on_gpu:
        why = "--device cpu was asked for" if settings.device == "cpu" else cuda_reason()
        alone = f"only the CPU was measured: {why}"
    ratio = speedup(
        throughputs.get("cpu"),
        throughputs.get(session.device),
        expectations["speed-up"],
        alone,
    )
    rules = validity(
        {
            arm.device: window_rules(session, arm, settings.min_seconds, settings.games)
            for arm in measured
        }
    )
    checks = [with_validity(ratio, rules) if on_gpu else ratio]
    if on_gpu:
        checks.insert(0, devices_check(session))
        checks.append(outputs_check(session, differences))
    checks += health_checks(session, list(throughputs.values()))
    for throughput in throughputs.values():
        checks += machine_checks(session, throughput)
    return Judgement(
        headline(list(throughputs.values()), ratio),
        checks,
        idle_gaps=idle_gaps_of(session, session.gpu_uuids),
        validity=rules,
    )


def headline(throughputs: list[Throughput], ratio: Check) -> str:
    """Each device's games per minute, and what the GPU makes of them, in a sentence."""
    speeds = []
    for throughput in throughputs:
        games = throughput.games_per_minute
        if games.value is not None:
            spread = games.interval
            between = f" ({figure(spread.low)} to {figure(spread.high)})" if spread else ""
            speeds.append(f"{throughput.device}: {figure(games.value)} games/min{between}")
    if not speeds:
        return ""
    return f"{'; '.join(speeds)}; {ratio.observation}."


def devices_check(session: Session) -> Check:
    """The device reaches the workers of the GPU's arm."""
    workers = [
        record for arm in session.arms if arm.device == session.device for record in arm.workers()
    ]
    return device_reaches_workers(workers, session.device)


def outputs_check(session: Session, differences: list[Difference | None]) -> Check:
    """Float32 answers must agree closely, bfloat16's within its stated tolerance."""
    dtype = next((a.dtype for a in session.arms if a.device == session.device), None) or "float32"
    seen = differences[0] if differences else None
    return outputs_agree(
        seen.policy if seen else None,
        seen.value if seen else None,
        dtype,
        FLOAT32_TOLERANCE if dtype == "float32" else POLICY_TOLERANCE,
        session.engine.unseen,
    )
