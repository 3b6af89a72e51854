"""Every finding on scripted runs that have its cause, and none on any that is healthy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from healthy_runs import healthy_replays, healthy_run, healthy_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_runs import CPU, GPU, Run
from sick_runs import SICK, sick_runs

import reports
from blobdiag.diagnosis.causes import CATALOGUE, find_all
from blobdiag.diagnosis.causes.memory_grows import least_slope
from blobdiag.model.judgement import Finding
from blobdiag.model.recorded import Series
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.model.selfplay import Hold

REFERENCE = Path(__file__).parents[3] / "reports" / "reference"
IN_ENGINES = {name for name, cause in CATALOGUE.items() if cause.in_engine}
FEW_REPORTS = settings(deadline=None, max_examples=30)


def _names(report: Report) -> set[str]:
    return {finding.name for finding in find_all(report)}


def _found(name: str, report: Report) -> Finding:
    finding = CATALOGUE[name].find(report)
    assert finding is not None
    return finding


# Found where the cause is there


def test_each_cause_has_three_runs() -> None:
    assert SICK.keys() == IN_ENGINES
    assert all(len(runs) >= 3 for runs in SICK.values())


@pytest.mark.parametrize(
    ("cause", "run"), [pytest.param(f, r, id=f"{f}: {n}") for f, n, r in sick_runs()]
)
def test_a_cause_is_found(cause: str, run: Run) -> None:
    finding = _found(cause, run.report())
    assert finding.name == cause
    assert finding.title
    assert finding.cause.endswith(".")
    assert finding.remedy
    assert finding.evidence
    assert finding.gain is not None
    gain = finding.gain
    assert gain.minutes_per_iteration is None or gain.minutes_per_iteration >= 0
    assert gain.self_play_factor is None or gain.self_play_factor >= 1
    unknown = gain.minutes_per_iteration is None and gain.self_play_factor is None
    assert gain.basis.startswith("cannot be predicted: ") is unknown


def test_no_remedy_names_our_options_to_another_engine() -> None:
    for _, name, run in sick_runs():
        report = run.report()
        external = report.model_copy(
            update={"configuration": {**report.configuration, "engine": "measured:make"}}
        )
        for finding in find_all(external):
            assert "--" not in finding.remedy, name


@pytest.mark.parametrize("cause", SICK)
def test_a_cause_brings_no_finding_that_it_does_not_explain(cause: str) -> None:
    # What comes with a cause: its symptom, or the wider name of the same thing.
    explained = {
        "tiny-batches": {"busy-but-starved", "too-many-workers"},
        "too-many-workers": {"busy-but-starved", "tiny-batches", "cpu-oversubscription"},
        "queue-bound-server": {"tiny-batches", "cpu-oversubscription"},
        "cores-counted-wrong": {"cpu-oversubscription"},
    }
    for run in SICK[cause].values():
        assert _names(run.report()) - {cause} <= explained.get(cause, set())


# And nowhere else


def test_nothing_is_found_in_200_scripted_healthy_runs() -> None:
    found = {name: _names(report) for name, report in healthy_runs(200)}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.slow
def test_nothing_is_found_in_60_replays_of_real_healthy_runs() -> None:
    found = {name: _names(report) for name, report in healthy_replays(60)}
    assert len(found) == 60
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.json")), ids=lambda path: path.stem)
def test_nothing_is_found_in_the_reference_reports(path: Path) -> None:
    assert find_all(read_report(path)) == []


def test_nothing_is_found_in_a_report_that_holds_nothing() -> None:
    assert find_all(reports.minimal()) == []
    assert find_all(reports.minimal(device="cuda")) == []


# Whatever the run


_RUNS = st.one_of(
    st.integers(0, 10_000).map(healthy_run), st.sampled_from([run for _, _, run in sick_runs()])
)


def _less(report: Report, gone: st.DataObject) -> Report:
    """The report with some of its series unknown, and some of what is optional left out."""
    blind = [
        Series(name=s.name, unit=s.unit, times_s=s.times_s, values=[None] * len(s.values))
        if gone.draw(st.booleans())
        else s
        for s in report.series
    ]
    fields = ("weights_hash", "plan", "pid", "metrics", "throughput", "gpus")
    dropped = gone.draw(st.sets(st.sampled_from(fields)))
    empty: dict[str, object] = {"metrics": [], "throughput": [], "gpus": []}
    return report.model_copy(update={"series": blind} | {name: empty.get(name) for name in dropped})


@FEW_REPORTS
@given(_RUNS, st.data())
def test_what_is_not_known_makes_no_finding_and_no_exception(run: Run, gone: st.DataObject) -> None:
    report = run.report()
    assert _names(_less(report, gone)) <= _names(report)


@FEW_REPORTS
@given(_RUNS)
def test_a_saved_report_is_judged_the_same_again(run: Run) -> None:
    report = run.report()
    again = Report.model_validate_json(report.model_dump_json())
    assert find_all(again) == find_all(report)


@FEW_REPORTS
@given(_RUNS, _RUNS)
def test_the_costliest_comes_first_and_the_unknown_last(one: Run, other: Run) -> None:
    both = replace(one, distinct=0.4, reuse=100.0, command="iteration", same_deals=32, stale=1)
    costs = [f.gain.minutes_per_iteration for f in find_all(both.report()) if f.gain]
    known = [cost for cost in costs if cost is not None]
    assert known == sorted(known, reverse=True)
    assert costs == known + [None] * (len(costs) - len(known))


# How bad it is: a knob of each finding from mild to severe. More severe is found too.

SEVERITY: dict[str, Callable[[float], Run]] = {
    "device-not-propagated": lambda x: replace(GPU, workers=8, lost_device=round(8 * x)),
    "busy-but-starved": lambda x: replace(GPU, rate=600_000 * (1 - 0.99 * x)),
    "tiny-batches": lambda x: replace(
        CPU,
        mean_batch=192 - 191 * x,
        bare={max(1, round(192 - 191 * x)): 40_000 * (1 - 0.95 * x), 384: 40_000.0},
    ),
    "too-many-workers": lambda x: replace(
        GPU, workers=round(1 + 63 * x), threads=1, utilisation=99.0, rate=500_000 * (1 - 0.99 * x)
    ),
    "gil-bound-threads": lambda x: replace(
        GPU,
        threads=16,
        process_percent=1_600 - 1_500 * x,
        stages={"select": 1 - 0.9 * x, "python": 0.9 * x},
        rate=400_000 * (1 - 0.9 * x),
    ),
    "queue-bound-server": lambda x: replace(
        GPU,
        workers=8,
        threads=1,
        server_rows=100 - 95 * x,
        stages={"select": 1 - 0.9 * x, "wait": 0.9 * x},
    ),
    "cpu-oversubscription": lambda x: replace(
        CPU, intra_op_threads=round(1 + 15 * x), rate=40_000 * (1 - 0.95 * x)
    ),
    "idle-gap-between-phases": lambda x: replace(CPU, command="iteration", gap_seconds=5 * x),
    "search-collapsed": lambda x: replace(CPU, distinct=1 - x),
    "same-games": lambda x: replace(CPU, same_deals=round(32 * x)),
    "stale-weights": lambda x: replace(GPU, workers=8, threads=2, stale=round(8 * x)),
    "overfitted-by-reuse": lambda x: replace(CPU, command="iteration", reuse=1 + 500 * x),
    "cores-counted-wrong": lambda x: replace(
        CPU, workers=round(2 + 62 * x), cores_total=64, quota=2.0
    ),
    "train-mode-in-self-play": lambda x: replace(CPU, train_mode=x > 0.5),
    "memory-grows": lambda x: replace(CPU, leak_mib_per_s=40 * x),
    "precision-not-used": lambda x: replace(CPU, dtype="float32", bfloat16_speedup=0.5 + 5 * x),
    "transfer-bound": lambda x: replace(GPU, stages={"select": 1 - x, "copy": x}),
    "near-out-of-memory": lambda x: replace(GPU, memory_share=0.02 + 0.97 * x),
}


@pytest.mark.parametrize("cause", sorted(IN_ENGINES))
@settings(deadline=None, max_examples=10)
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_severe_is_found_too(cause: str, one: float, other: float) -> None:
    mild, severe = sorted((one, other))
    scale = SEVERITY[cause]
    if cause in _names(scale(mild).report()):
        assert cause in _names(scale(severe).report())


@pytest.mark.parametrize("cause", sorted(IN_ENGINES))
def test_severity_goes_from_healthy_to_found(cause: str) -> None:
    assert cause not in _names(SEVERITY[cause](0.0).report())
    assert cause in _names(SEVERITY[cause](1.0).report())


# What single findings say


def test_device_not_propagated_shows_each_worker_and_the_check() -> None:
    report = replace(GPU, workers=3, lost_device=2).report()
    finding = _found(
        "device-not-propagated", report.model_copy(update={"checks": [reports.check()]})
    )
    assert finding.title.startswith("2 of 3 workers")
    assert "load_state_dict" in finding.cause
    assert "network.to(device)" in finding.remedy
    assert finding.evidence == [
        "worker 0 (pid 4000001): parameters on cpu, bfloat16",
        "worker 1 (pid 4000002): parameters on cpu, bfloat16",
        "self-play GPU utilisation: mean 83 %",
    ]


def test_the_arms_of_a_comparison_take_turns() -> None:
    mine = reports.worker(0).model_copy(update={"threads": 4, "deals": ["a", "b", "c", "d"]})
    theirs = mine.model_copy(
        update={
            "worker": 1,
            "device_asked": "cpu",
            "parameter_devices": ["cpu"],
            "output_device": "cpu",
        }
    )
    machine = reports.minimal().machine.model_copy(update={"cores_usable": 4})
    report = reports.minimal(device="cuda", machine=machine, workers=[mine, theirs])
    # Four threads on four cores, not eight; the same cards for both on purpose.
    assert find_all(report) == []
    # Another GPU than the asked one is wrong too, but it is not this cause.
    assert find_all(reports.minimal(device="cuda:0", workers=[reports.worker(0, "cuda:1")])) == []


def test_a_lost_worker_and_its_replacement_are_one() -> None:
    first = reports.worker(0, deals=["a", "b", "c", "d"], weights_hash="old", state="lost")
    second = reports.worker(0, deals=["a", "b", "c", "d"], pid=7)
    machine = reports.minimal().machine.model_copy(update={"cores_usable": 1})
    report = reports.minimal(
        device="cuda", workers=[first, second], machine=machine, weights_hash="0123abcd"
    )
    assert find_all(report) == []


def test_small_batches_that_cost_nothing_are_healthy() -> None:
    small = replace(CPU, mean_batch=15.0, bare={15: 40_000.0, 192: 44_000.0})
    assert find_all(small.report()) == []


def test_threads_that_take_turns_at_no_cost_are_healthy() -> None:
    assert find_all(replace(CPU, threads=2).report()) == []
    assert find_all(replace(CPU, threads=2, bare={}, switches_per_s=340.0).report()) == []
    off_cores = replace(CPU, threads=2, bare={}, switches_per_s=4_600.0)
    assert _names(off_cores.report()) == {"cpu-oversubscription"}


def test_tiny_batches_predict_a_healthy_rate_in_large_batches() -> None:
    run = replace(CPU, mean_batch=4.0, rate=6_000.0, bare={4: 6_500.0, 192: 40_000.0})
    report = run.report()
    rate = report.throughput[0]
    gain = _found("tiny-batches", report).gain
    assert gain is not None
    # Two threads: 50 µs of the network and 2 of the host for each position.
    factor = (2 / 52e-6) / (rate.evaluations_per_second.value or 0)
    assert gain.self_play_factor == pytest.approx(factor)
    minutes = 10_000 / (rate.games_per_minute.value or 0)
    assert gain.minutes_per_iteration == pytest.approx(minutes * (1 - 1 / factor))


def test_a_starved_gpu_is_predicted_to_reach_the_healthy_share() -> None:
    report = SICK["busy-but-starved"]["99 % busy with a tenth of the work"].report()
    gain = _found("busy-but-starved", report).gain
    assert gain is not None
    achieved = report.throughput[0].evaluations_per_second.value or 0
    assert gain.self_play_factor == pytest.approx(0.6 * 640_000 / achieved)


def test_fewer_workers_predict_by_what_was_measured() -> None:
    run = SICK["too-many-workers"]["60 workers where 32 did better"]
    finding = _found("too-many-workers", run.report())
    assert finding.gain is not None
    # As somebody measured it: 68 games/min with 32 workers, 1.3 with 60.
    assert finding.gain.self_play_factor == pytest.approx(68 / 1.3, rel=0.05)
    assert "60 processes on one GPU" in finding.evidence


def test_an_idle_gap_costs_its_seconds_once_an_iteration_and_names_its_owner() -> None:
    report = replace(CPU, command="iteration", gap_seconds=3.0).report()
    held = Hold(phase="self-play", where="pipeline.py:75 save", seconds=2.9, share=0.97)
    finding = _found("idle-gap-between-phases", report.model_copy(update={"holds": [held]}))
    assert finding.gain is not None
    assert 60 * (finding.gain.minutes_per_iteration or 0) == pytest.approx(3.0, abs=0.8)
    assert finding.evidence[0].startswith("the CPU: ")
    assert "self-play → training" in finding.evidence[0]
    assert finding.evidence[1].startswith("the parent spent 2.9 s at pipeline.py:75 save, 97%")


def test_a_gap_inside_self_play_recurs_with_the_games() -> None:
    run = replace(GPU, gap_seconds=3.0, seconds=12.0)
    gain = _found("idle-gap-between-phases", run.report()).gain
    assert gain is not None
    assert gain.self_play_factor == pytest.approx(15 / 12, rel=0.07)


def test_interrupted_before_the_refresh_is_not_stale() -> None:
    report = replace(CPU, command="iteration", stale=2).report()
    assert "stale-weights" not in _names(report.model_copy(update={"interrupted": True}))


def test_reuse_beyond_what_was_asked_is_counted_wrong() -> None:
    report = replace(CPU, command="iteration", reuse=4.0).report()
    seen = report.metrics[0].model_copy(update={"value": 9.0})
    finding = _found(
        "overfitted-by-reuse", report.model_copy(update={"metrics": [seen, *report.metrics[1:]]})
    )
    assert "--reuse 4" in finding.remedy


def test_threads_that_wait_for_a_saturated_gpu_are_not_bound_by_the_lock() -> None:
    bound = SICK["gil-bound-threads"]["16 threads in Python on a GPU"]
    assert "gil-bound-threads" not in _names(replace(bound, rate=400_000.0).report())
    unmeasured = replace(bound, bare={}, utilisation=95.0)
    assert "gil-bound-threads" not in _names(unmeasured.report())
    # Nor where a neighbour has the cores.
    assert "gil-bound-threads" not in _names(replace(bound, host_percent=99.0).report())


# The slope of a worker's memory


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.floats(0.0, 5.0))
def test_the_least_slope_stays_below_the_true_one(seed: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(40) * 0.4
    points = list(zip(times, 450 + slope * times + rng.normal(0, 1.0, 40), strict=True))
    # Ten standard errors of a least-squares slope of 40 of these points.
    assert least_slope(points) < slope + 10 / np.sqrt(np.sum((times - times.mean()) ** 2))


def test_memory_that_settles_has_no_slope() -> None:
    times = np.arange(60) * 0.4
    settling = 420 + 30 * (1 - np.exp(-times / 3))
    assert least_slope(list(zip(times, settling, strict=True))) < 0.1
    steps = 420 + 10 * (times > 12)
    assert least_slope(list(zip(times, steps, strict=True))) == pytest.approx(0.0)
