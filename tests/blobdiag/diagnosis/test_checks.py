from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from blobdiag.diagnosis.checks import (
    advisory,
    device_reaches_workers,
    gpu_utilisation,
    no_idle_gaps,
    on_device,
    outputs_agree,
    search_health,
    speedup,
    starved,
)
from blobdiag.diagnosis.expectations import EXPECTATIONS, with_overrides
from blobdiag.diagnosis.idle import CPU_IDLE_PERCENT, cpu_idle_gaps, idle_gaps
from blobdiag.diagnosis.timeline import phases, trace_of
from blobdiag.diagnosis.verdict import Neighbours, verdict, window_validity, with_validity
from blobdiag.model.report import Check, Interval, Metric, Role, Status, Validity
from blobdiag.sampling.trace import Span, Trace

UUID = reports.UUID
OTHER = "GPU-other"


# Expectations


@pytest.mark.parametrize(
    ("asked", "actual", "expected"),
    [
        ("cuda", "cuda:0", True),
        ("cuda", "cuda:7", True),
        ("cuda", "cpu", False),
        ("cuda:1", "cuda:1", True),
        ("cuda:1", "cuda:0", False),
        ("cuda:1", "cuda:11", False),
        ("cpu", "cpu", True),
        ("cpu", "cuda:0", False),
        ("meta", "meta", True),
    ],
)
def test_on_device(asked: str, actual: str, expected: bool) -> None:
    assert on_device(asked, actual) is expected


@pytest.mark.parametrize(
    ("name", "seen", "status"),
    [
        ("speed-up", 3.0, Status.PASS),
        ("speed-up", 50.0, Status.PASS),
        ("speed-up", 2.99, Status.FAIL),
        ("speed-up", Interval(low=2.9, high=3.2), Status.INCONCLUSIVE),
        ("speed-up", Interval(low=2.0, high=2.9), Status.FAIL),
        ("idle-gap", 1.0, Status.PASS),
        ("idle-gap", 1.1, Status.FAIL),
        ("cpu", 30.0, Status.PASS),
        ("cpu", 41.0, Status.FAIL),
        ("cpu", Interval(low=10.0, high=50.0), Status.INCONCLUSIVE),
    ],
)
def test_judging(name: str, seen: float | Interval, status: Status) -> None:
    assert EXPECTATIONS[name].judge(seen) is status


def test_overrides_replace_the_range_and_nothing_else() -> None:
    changed = with_overrides(["speed-up=5..", "idle-gap=..2.5", "cpu=1..100"])
    assert (changed["speed-up"].low, changed["speed-up"].high) == (5, None)
    assert (changed["idle-gap"].low, changed["idle-gap"].high) == (None, 2.5)
    assert (changed["cpu"].low, changed["cpu"].high) == (1, 100)
    assert changed["cpu"].role is Role.ADVISORY
    assert changed["cpu"].source == "--expect cpu=1..100"
    assert changed["vram"] == EXPECTATIONS["vram"]
    assert EXPECTATIONS["speed-up"].low == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("speed-up", "NAME=LOW..HIGH"),
        ("speed-up=3", "NAME=LOW..HIGH"),
        ("speed-up=..", "one side must be a number"),
        ("speed-up=three..", "'three' is not a number"),
        ("speed-up=5..3", "LOW is above HIGH"),
        ("speed-up=nan..", "not finite"),
        ("idle-gap=1..", "an upper end only"),
        ("idle-gap=0.5..2", "an upper end only"),
        ("speedup=3..", "no expectation 'speedup'"),
    ],
)
def test_bad_override_is_one_line_that_lists_the_names(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="names: ") as caught:
        with_overrides([text])
    line = str(caught.value)
    assert why in line
    assert "\n" not in line
    assert all(name in line for name in EXPECTATIONS)


# Device


def test_device_reaches_every_worker() -> None:
    check = device_reaches_workers([reports.worker(0), reports.worker(1, "cuda:1")], "cuda")
    assert check.status is Status.PASS
    assert check.role is Role.DECIDING


def test_every_wrong_worker_is_one_line_of_evidence() -> None:
    workers = [
        reports.worker(0),
        reports.worker(1, "cpu"),
        reports.worker(2, parameter_devices=["cuda:0", "cpu"]),
        reports.worker(3, output_device="cpu"),
    ]
    check = device_reaches_workers(workers, "cuda:0")
    assert check.status is Status.FAIL
    assert check.observation == "3 of 4 workers are not on cuda:0"
    assert check.evidence[1] == (
        "worker 2 (pid 4000003): asked cuda:0, parameters on cuda:0, cpu, output on cuda:0"
    )
    assert [line.split(":")[0] for line in check.evidence] == [
        f"worker {i} (pid {4_000_001 + i})" for i in (1, 2, 3)
    ]


def test_device_unknown_is_inconclusive() -> None:
    assert device_reaches_workers([], "cuda").status is Status.INCONCLUSIVE
    check = device_reaches_workers([reports.worker(parameter_devices=[])], "cuda")
    assert check.status is Status.INCONCLUSIVE
    assert "parameters on not reported" in check.evidence[0]


def test_an_engine_s_own_word_is_said_to_be_that() -> None:
    seen, named = reports.worker(0), reports.worker(1, batches=None)
    assert device_reaches_workers([seen, seen], "cuda").observation == "all of 2 workers on cuda"
    check = device_reaches_workers([seen, named], "cuda")
    assert check.status is Status.PASS
    assert check.observation == (
        "all of 2 workers on cuda (1 by the engine's own word alone: no forward call was counted "
        "there)"
    )


def test_proof_on_meta_is_said() -> None:
    check = device_reaches_workers([reports.worker(0, "meta")], "meta", on_meta=True)
    assert check.status is Status.PASS
    assert "meta device" in check.observation


# Utilisation


def _utilisation(trace: Trace, uuids: list[str], reason: str | None = None) -> Check:
    expectation = EXPECTATIONS["self-play-gpu"]
    return gpu_utilisation(trace, uuids, "self-play", trace.spans, expectation, reason)


def _self_play(values: list[float | None]) -> Trace:
    """A phase that ends with the last sample; the second before it belongs to another phase."""
    end = 100.0 + 0.2 * (len(values) - 1)
    return reports.trace(values, [Span("start-up", 99.0, 100.0), Span("self-play", 100.0, end)])


@pytest.mark.parametrize(
    ("level", "status"), [(99.0, Status.PASS), (70.0, Status.PASS), (5.0, Status.FAIL)]
)
def test_utilisation(level: float, status: Status) -> None:
    check = _utilisation(_self_play([level] * 40), [UUID])
    assert check.status is status
    assert f"{level:.0f} %" in check.observation
    assert check.valid


def test_utilisation_leaves_out_what_nvml_still_remembers() -> None:
    # The first second still shows the phase before; with it the mean would be 65 %.
    check = _utilisation(_self_play([0.0] * 5 + [75.0] * 35), [UUID])
    assert check.status is Status.PASS


def test_the_lowest_gpu_decides() -> None:
    trace = _self_play([90.0] * 40)
    for time in trace.samples[f"gpu/{UUID}/utilization"].times:
        trace.add(f"gpu/{OTHER}/utilization", "%", time, 10.0)
    both = _utilisation(trace, [UUID, OTHER])
    assert both.status is Status.FAIL
    assert both.observation == "lowest mean of 2 GPUs 10 %"
    alone = _utilisation(trace, [UUID])
    assert alone.status is Status.PASS
    assert alone.observation == "mean 90 %"
    assert _utilisation(trace, [UUID, "GPU-never-sampled"]).status is Status.INCONCLUSIVE


def test_short_window_says_how_long_would_do() -> None:
    check = _utilisation(_self_play([0.0] * 15), [UUID])
    assert check.status is Status.INCONCLUSIVE
    assert check.observation == "phase long enough: 2.8 s, needed ≥ 5 s"


@pytest.mark.parametrize(("samples", "status"), [(10, Status.PASS), (9, Status.INCONCLUSIVE)])
def test_just_enough_samples_in_just_enough_time(samples: int, status: Status) -> None:
    trace = Trace(start=0.0, spans=[Span("self-play", 0.0, 5.0)])
    for i in range(samples):
        trace.add(f"gpu/{UUID}/utilization", "%", 1.0 + 0.4 * i, 90.0)
    assert _utilisation(trace, [UUID]).status is status


def test_utilisation_unknown_is_inconclusive() -> None:
    few = _self_play([99.0] * 9 + [None] * 40)
    assert "enough samples: 4" in _utilisation(few, [UUID]).observation
    never = _self_play([None] * 40)
    never.unsupported[f"gpu/{UUID}/utilization"] = "NVML: not supported"
    assert _utilisation(never, [UUID]).observation == "NVML: not supported"
    assert _utilisation(_self_play([99.0] * 40), []).status is Status.INCONCLUSIVE
    no_phase = reports.trace([99.0] * 40)
    assert _utilisation(no_phase, [UUID]).status is Status.INCONCLUSIVE


def test_utilisation_does_not_apply_on_a_cpu() -> None:
    check = _utilisation(_self_play([0.0] * 40), [UUID], "the device is cpu")
    assert check.status is Status.NOT_APPLICABLE
    assert check.observation == "the device is cpu"


# Idle gaps


def _two_phases(values: list[float | None]) -> Trace:
    return reports.trace(values, [Span("self-play", 100.0, 105.0), Span("training", 105.2, 110.0)])


def test_gap_between_phases_names_both() -> None:
    # Samples 22 to 29: 0 % from 4.4 to 5.8 s.
    trace = _two_phases([90.0] * 22 + [0.0] * 8 + [90.0] * 20)
    (gap,) = idle_gaps(trace, [UUID], trace.spans, 1.0)
    assert gap.device == UUID
    assert (gap.start_s, gap.end_s) == (pytest.approx(4.4), pytest.approx(5.8))
    assert gap.phase == "self-play → training"


def test_gap_inside_a_phase_names_the_innermost() -> None:
    trace = _two_phases([90.0] * 5 + [0.0] * 8 + [90.0] * 37)
    trace.spans.insert(0, Span("iteration", 100.0, 110.0))
    (gap,) = idle_gaps(trace, [UUID], trace.spans, 1.0)
    assert gap.phase == "self-play"


def test_idle_time_outside_the_spans_is_no_gap() -> None:
    trace = _two_phases([0.0] * 26 + [90.0] * 24)
    assert idle_gaps(trace, [UUID], trace.spans, 1.0)
    assert not idle_gaps(trace, [UUID], trace.spans[1:], 1.0)
    assert not idle_gaps(trace, [UUID], [], 1.0)


def test_a_gap_may_last_until_the_end() -> None:
    trace = _two_phases([90.0] * 40 + [0.0] * 11)
    (gap,) = idle_gaps(trace, [UUID], trace.spans, 1.0)
    assert gap.seconds == pytest.approx(2.0)
    assert gap.phase == "training"


def test_a_gap_of_just_the_threshold_is_none() -> None:
    trace = Trace(start=0.0, spans=[Span("self-play", 0.0, 1.0)])
    for time in (0.0, 0.5, 1.0):
        trace.add(f"gpu/{UUID}/utilization", "%", time, 0.0)
    assert not idle_gaps(trace, [UUID], trace.spans, 1.0)
    (gap,) = idle_gaps(trace, [UUID], trace.spans, 0.99)
    assert (gap.start_s, gap.end_s, gap.phase) == (0.0, 1.0, "self-play")


def test_what_is_not_known_ends_a_gap() -> None:
    trace = _two_phases([90.0] * 20 + [0.0] * 4 + [None] + [0.0] * 4 + [90.0] * 21)
    assert not idle_gaps(trace, [UUID], trace.spans, 1.0)


def test_a_gap_does_not_reach_across_missing_samples() -> None:
    trace = Trace(start=0.0, spans=[Span("self-play", 0.0, 10.0)])
    for time in (0.0, 0.2, 5.0, 5.2):
        trace.add(f"gpu/{UUID}/utilization", "%", time, 0.0)
    assert not idle_gaps(trace, [UUID], trace.spans, 1.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 50.0, None]), max_size=60), st.floats(0.1, 5.0))
def test_every_gap_is_idle_longer_than_the_threshold(
    values: list[float | None], threshold: float
) -> None:
    trace = reports.trace(values, [Span("self-play", 100.0, 200.0)])
    for gap in idle_gaps(trace, [UUID], trace.spans, threshold):
        assert gap.seconds > threshold
        inside = [
            value
            for i, value in enumerate(values)
            if gap.start_s - 0.1 <= 0.2 * i <= gap.end_s + 0.1
        ]
        assert set(inside) == {0.0}


PIDS = (7, 8)


def _cpu_trace(*percents: list[float | None]) -> Trace:
    """A process for each list, read every 0.4 s from 100 s on, milliseconds apart."""
    spans = [Span("self-play", 100.0, 110.0)]
    trace = Trace(start=100.0, spans=spans)
    for i, percent in enumerate(percents):
        for tick, value in enumerate(percent):
            trace.add(f"process/{PIDS[i]}/cpu", "%", 100.0 + 0.4 * tick + 0.003 * i, value)
    return trace


def test_on_a_cpu_a_gap_begins_with_the_last_reading_of_work() -> None:
    trace = _cpu_trace([98.0] * 5 + [0.0] * 4 + [98.0] * 8, [5.0] * 17)
    (gap,) = cpu_idle_gaps(trace, PIDS, trace.spans, 1.0)
    assert (gap.device, gap.phase) == ("cpu", "self-play")
    assert (gap.start_s, gap.end_s) == (pytest.approx(1.6), pytest.approx(3.2))


def test_on_a_cpu_one_process_at_work_is_no_gap() -> None:
    idle = [98.0] * 5 + [0.0] * 8 + [98.0] * 4
    trace = _cpu_trace(idle, [CPU_IDLE_PERCENT + 1] * 17)
    assert not cpu_idle_gaps(trace, PIDS, trace.spans, 1.0)
    assert cpu_idle_gaps(trace, PIDS[:1], trace.spans, 1.0)
    assert not cpu_idle_gaps(trace, [], trace.spans, 1.0)


def test_on_a_cpu_what_was_not_sampled_is_no_gap() -> None:
    unknown: list[float | None] = [98.0] * 5 + [None] * 8 + [98.0] * 4
    trace = _cpu_trace(unknown)
    assert not cpu_idle_gaps(trace, PIDS, trace.spans, 1.0)


def _gap_check(trace: Trace, uuids: list[str]) -> Check:
    return no_idle_gaps(trace, uuids, trace.spans, EXPECTATIONS["idle-gap"])


def test_no_idle_gap_passes_and_fails() -> None:
    assert _gap_check(_two_phases([90.0] * 51), [UUID]).status is Status.PASS
    check = _gap_check(_two_phases([90.0] * 22 + [0.0] * 8 + [90.0] * 20), [UUID])
    assert check.status is Status.FAIL
    assert check.valid
    assert check.observation == "1 gap, the longest 1.4 s (self-play → training)"
    values = [0.0] * 7 + [90.0] * 15 + [0.0] * 10 + [90.0] * 19
    two = _gap_check(_two_phases(values), [UUID])
    assert two.observation.startswith("2 gaps, the longest 1.8 s")
    assert len(two.evidence) == 2


def test_no_gap_seen_is_no_pass_where_one_could_hide() -> None:
    holed = _gap_check(_two_phases([90.0] * 20 + [None] * 10 + [90.0] * 21), [UUID])
    assert holed.status is Status.INCONCLUSIVE
    assert holed.observation == "samples without a hole: longest 2.2 s, needed ≤ 1 s"
    assert _gap_check(_two_phases([]), [UUID]).status is Status.INCONCLUSIVE
    blind = _gap_check(_two_phases([90.0] * 51), [])
    assert (blind.status, blind.observation) == (Status.INCONCLUSIVE, "no GPU was sampled")
    phaseless = _gap_check(reports.trace([90.0] * 51), [UUID])
    assert phaseless.observation == "no phase in which the GPU should work"
    brief = reports.trace([90.0] * 10, [Span("self-play", 100.0, 101.8)])
    assert _gap_check(brief, [UUID]).status is Status.INCONCLUSIVE


def test_a_longer_threshold_allows_no_longer_hole() -> None:
    trace = _two_phases([90.0] * 20 + [None] * 10 + [90.0] * 21)
    lenient = with_overrides(["idle-gap=..5"])["idle-gap"]
    assert no_idle_gaps(trace, [UUID], trace.spans, lenient).status is Status.INCONCLUSIVE


# Speed-up, health, agreement, starvation


@pytest.mark.parametrize(
    ("gpu_rate", "spread", "status"),
    [
        (4_000.0, 0.02, Status.PASS),
        (90_000.0, 0.02, Status.PASS),
        (2_000.0, 0.02, Status.FAIL),
        (3_100.0, 0.3, Status.INCONCLUSIVE),
    ],
)
def test_speedup(gpu_rate: float, spread: float, status: Status) -> None:
    cpu = reports.throughput("cpu", 1_000.0)
    gpu = reports.throughput("cuda:0", gpu_rate, blocks=reports.blocks(gpu_rate, spread=spread))
    check = speedup(cpu, gpu, EXPECTATIONS["speed-up"])
    assert check.status is status
    assert check.evidence[0] == "cpu: 53.9 games/min, 358 games, float32"
    assert ("advisory" in check.observation) is (gpu_rate > 10_000)


def test_speedup_without_an_interval_or_a_device_is_inconclusive() -> None:
    cpu = reports.throughput("cpu", 1_000.0)
    short = reports.throughput(blocks=reports.blocks(9_000.0, count=3, spread=0.0))
    check = speedup(cpu, short, EXPECTATIONS["speed-up"])
    assert check.status is Status.INCONCLUSIVE
    assert check.observation == "9.00 ×, but only 3 blocks: an interval needs 5"
    for pair, text in (((cpu, None), "the GPU was not"), ((None, cpu), "the CPU was not")):
        missing = speedup(*pair, EXPECTATIONS["speed-up"])
        assert missing.status is Status.INCONCLUSIVE
        assert missing.observation.startswith(text)
    lone = speedup(cpu, None, EXPECTATIONS["speed-up"], "this machine has no GPU")
    assert lone.status is Status.NOT_APPLICABLE


def test_search_health_is_judged_by_the_worst() -> None:
    good = reports.throughput("cpu")
    bad = reports.throughput(search_health=reports.health(distinct_share=0.03, deep_share=0.0))
    distinct, deep, policy = search_health([good, bad], EXPECTATIONS)
    assert (distinct.status, distinct.role) == (Status.FAIL, Role.DECIDING)
    assert (deep.status, deep.role) == (Status.FAIL, Role.ADVISORY)
    assert policy.status is Status.NOT_APPLICABLE


def test_search_health_judges_the_policy_of_trained_weights_only() -> None:
    for kl, status in ((0.5, Status.PASS), (0.0, Status.FAIL), (None, Status.INCONCLUSIVE)):
        trained = reports.health(mean_kl_nats=kl, trained_weights=True, reason="too few")
        *_, policy = search_health([reports.throughput(search_health=trained)], EXPECTATIONS)
        assert policy.status is status


def test_search_health_unknown_is_inconclusive() -> None:
    blind = reports.throughput(search_health=reports.health(distinct_share=None, reason="off"))
    distinct, *_ = search_health([reports.throughput("cpu"), blind], EXPECTATIONS)
    assert distinct.status is Status.INCONCLUSIVE
    assert "cuda:0: – (off)" in distinct.evidence
    assert {c.status for c in search_health([], EXPECTATIONS)} == {Status.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("policy", "value", "status"),
    [
        (1e-6, 1e-6, Status.PASS),
        (1e-4, 1e-4, Status.PASS),
        (1e-6, 1e-2, Status.FAIL),
        (1e-2, 1e-6, Status.FAIL),
        (float("nan"), 0.0, Status.FAIL),
        (0.0, float("nan"), Status.FAIL),
        (None, 0.0, Status.INCONCLUSIVE),
        (0.0, None, Status.INCONCLUSIVE),
    ],
)
def test_outputs_agree(policy: float | None, value: float | None, status: Status) -> None:
    assert outputs_agree(policy, value, "float32", 1e-4).status is status


def test_starved() -> None:
    expectation = EXPECTATIONS["bare-network-share"]
    assert starved(10_000.0, 100_000.0, "cuda:0", expectation).status is Status.FAIL
    assert starved(60_000.0, 100_000.0, "cuda:0", expectation).status is Status.PASS
    assert starved(None, 100_000.0, "cuda:0", expectation).status is Status.INCONCLUSIVE
    assert starved(1.0, 0.0, "cuda:0", expectation).status is Status.INCONCLUSIVE
    assert starved(0.0, 100_000.0, "cuda:0", expectation).status is Status.FAIL
    on_cpu = starved(10_000.0, 100_000.0, "cpu", expectation)
    assert (on_cpu.role, on_cpu.name) == (Role.ADVISORY, "CPU not starved")
    on_gpu = starved(10_000.0, 100_000.0, "cuda:0", expectation)
    assert (on_gpu.role, on_gpu.name) == (Role.DECIDING, "GPU not starved")
    assert on_gpu.observation == "0.10 of the bare network (10,000 of 100,000 evals/s)"


def test_advisory() -> None:
    vram = Metric(name="VRAM", value=2.9, unit="GB")
    check = advisory(vram, EXPECTATIONS["vram"])
    assert (check.status, check.role) == (Status.FAIL, Role.ADVISORY)
    unknown = Metric(name="VRAM", value=None, unit="GB", reason="no GPU")
    assert advisory(unknown, EXPECTATIONS["vram"]).observation == "no GPU"
    with pytest.raises(ValueError, match="expected in %"):
        advisory(vram, EXPECTATIONS["cpu"])


# Validity and verdict


RATE = reports.throughput().evaluations_per_second
SOUND: dict[str, Any] = {
    "window_seconds": 10.0,
    "needed_seconds": 10.0,
    "games": 20,
    "needed_games": 20,
    "warm_up_seconds": 2.0,
    "rate": RATE,
    "samples": 25,
}


def _broken(**changes: Any) -> dict[str, Validity]:
    return {rule.rule: rule for rule in window_validity(**SOUND | changes) if not rule.ok}


def test_a_sound_window_keeps_every_rule() -> None:
    assert _broken() == {}
    assert len(window_validity(**SOUND)) == 7
    assert _broken(throttled=[], foreign_processes=[], neighbours=Neighbours(0.1, 2, 99.0)) == {}


@pytest.mark.parametrize(
    ("change", "rule", "observed"),
    [
        ({"window_seconds": 5.0}, "window long enough", "5.0 s"),
        ({"games": 10}, "enough games finished", "10 in 10.0 s"),
        ({"samples": 9}, "enough samples", "9"),
        ({"warm_up_seconds": 0.0}, "warm-up excluded", "0.0 s before the window"),
        ({"sampler_death": "exit code -9"}, "failure of the sampler", "exit code -9"),
        ({"lost_workers": [3]}, "lost workers", "worker 3"),
        ({"throttled": ["power brake"]}, "throttling", "power brake"),
        ({"foreign_processes": ["pid 7"]}, "other processes on the GPU", "pid 7"),
        (
            {"neighbours": Neighbours(0.9, 2, 99.0)},
            "no busy neighbour",
            "others used 0.9 cores, the host was 99 % busy",
        ),
        (
            {"rate": RATE.model_copy(update={"interval": Interval(low=33_000, high=47_000)})},
            "steady rate",
            "± 17.5%",
        ),
        (
            {"rate": RATE.model_copy(update={"interval": None, "reason": "only 2 blocks"})},
            "steady rate",
            "unknown: only 2 blocks",
        ),
    ],
)
def test_each_rule_of_a_window_can_be_broken(
    change: dict[str, Any], rule: str, observed: str
) -> None:
    assert {name: one.observed for name, one in _broken(**change).items()} == {rule: observed}


def test_a_neighbour_that_leaves_cores_idle_does_no_harm() -> None:
    assert _broken(neighbours=Neighbours(20.0, 2, 40.0)) == {}


def test_what_a_short_window_would_need() -> None:
    few = _broken(window_seconds=5.0, games=10)["enough games finished"]
    assert few.needed == "≥ 20; about 12 s would do"
    none = _broken(games=0)["enough games finished"]
    assert "fewer simulations" in none.needed


def test_with_validity_invalidates_a_check() -> None:
    check = reports.check()
    assert check.valid
    assert with_validity(check, window_validity(**SOUND)).valid
    assert not with_validity(check, window_validity(**SOUND | {"window_seconds": 1.0})).valid


_CHECKS = st.lists(
    st.builds(
        reports.check,
        status=st.sampled_from(Status),
        role=st.sampled_from(Role),
        valid=st.booleans(),
        name=st.sampled_from(["first", "second", "third"]),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(_CHECKS)
def test_verdict_precedence(checks: list[Check]) -> None:
    counted = [
        (c.status, c.valid)
        for c in checks
        if c.role is Role.DECIDING and c.status is not Status.NOT_APPLICABLE
    ]
    status, code, text = verdict(checks)
    if (Status.FAIL, True) in counted:
        assert (status, code) == (Status.FAIL, 1)
    elif not checks or set(counted) - {(Status.PASS, True)}:
        assert (status, code) == (Status.INCONCLUSIVE, 3)
    else:
        assert code == 0
        assert status is (Status.PASS if counted else Status.NOT_APPLICABLE)
    assert "\n" not in text
    assert text.endswith(".")
    assert not counted or any(c.name in text for c in checks)


def test_verdict_names_the_check_that_decided() -> None:
    failed = reports.check(Status.FAIL, name="the culprit")
    shown = reports.check(Status.FAIL, Role.ADVISORY, name="a bystander")
    _, code, text = verdict([reports.check(), shown, failed])
    assert code == 1
    assert text == "the culprit: mean 83 % (expected: 70 to 100 %)."
    _, code, text = verdict([reports.check(Status.FAIL, valid=False, name="the culprit")])
    assert code == 3
    assert "FAIL does not count" in text
    assert "throttling: power cap" in text


# Judging a saved report again


def test_phases_carry_means_and_a_saved_report_is_judged_the_same() -> None:
    trace = _two_phases([90.0] * 22 + [0.0] * 8 + [90.0] * 20)
    made = phases(trace, [UUID])
    gpu, cpu = made[1].metrics
    assert gpu.value == pytest.approx(90.0)
    assert cpu.value is None
    assert cpu.reason == "no sample fell into the phase"
    report = reports.minimal(phases=made, series=trace.to_series())
    again = trace_of(type(report).model_validate_json(report.model_dump_json()))
    before, after = _gap_check(trace, [UUID]), _gap_check(again, [UUID])
    assert after == before
    assert after.status is Status.FAIL
