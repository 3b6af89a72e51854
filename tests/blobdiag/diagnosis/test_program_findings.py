"""What is found in watched programs, scripted in the shapes people have, sick and healthy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import calls, on_gpu, process, training, watched
from watched_programs import HEALTHY, SICK

from blobdiag.diagnosis.causes import CATALOGUE, find_all
from blobdiag.model.judgement import Finding
from blobdiag.model.program import ProcessRecord
from blobdiag.model.report import Report

CASES = [(cause, name) for cause, programs in SICK.items() for name in programs]
IN_PROGRAMS = {name for name, cause in CATALOGUE.items() if cause.in_program}
EVERYTHING = [*HEALTHY.values(), *(SICK[cause][name] for cause, name in CASES)]


def names(report: Report) -> set[str]:
    return {finding.name for finding in find_all(report)}


def found(name: str, report: Report) -> Finding:
    finding = CATALOGUE[name].find(report)
    assert finding is not None
    return finding


# Found where the cause is there, and nowhere else


def test_each_cause_has_three_programs() -> None:
    assert SICK.keys() == IN_PROGRAMS
    assert all(len(programs) >= 3 for programs in SICK.values())


@pytest.mark.parametrize(("cause", "name"), CASES)
def test_a_cause_is_found_with_processes_figures_and_a_line_of_code(cause: str, name: str) -> None:
    report = SICK[cause][name]
    finding = found(cause, report)
    assert finding.name == cause
    assert finding.title
    assert finding.cause.endswith(".")
    assert finding.remedy
    text = " ".join([finding.title, *finding.evidence])
    assert any(character.isdecimal() for character in text)
    machine_wide = {"idle-gap-between-phases", "near-out-of-memory", "busy-but-starved"}
    assert cause in machine_wide or "pid 40" in text
    assert finding.gain is not None
    predicted = finding.gain.self_play_factor or finding.gain.minutes_per_iteration
    assert finding.gain.basis.startswith("cannot be predicted: ") is (predicted is None)


@pytest.mark.parametrize(("cause", "name"), CASES)
def test_a_cause_brings_only_what_it_explains(cause: str, name: str) -> None:
    # What comes with a cause: its symptom, the wider name of the same thing, or what it hides.
    explained = {
        "device-not-propagated": {"tiny-batches"},
        "context-per-worker": {"device-not-propagated"},
        "too-many-workers": {"busy-but-starved"},
        "queue-bound-server": {"tiny-batches"},
        "cores-counted-wrong": {"cpu-oversubscription"},
    }
    assert names(SICK[cause][name]) - {cause} <= explained.get(cause, set())


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_in_a_healthy_program(name: str) -> None:
    assert names(HEALTHY[name]) == set()


def test_the_counts_of_a_program_are_read_only_from_a_program() -> None:
    sick = SICK["device-not-propagated"]["the command line asks, no GPU is there"]
    assert names(sick.model_copy(update={"program": None})) == set()


# Whatever the program


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(EVERYTHING), st.data())
def test_what_is_not_known_makes_no_finding_and_no_exception(
    report: Report, gone: st.DataObject
) -> None:
    assert report.program is not None
    optional = ("cpu_seconds", "start_method", "gpu_memory_mib", "cpu_count", "driver_opened")
    dropped = gone.draw(st.sets(st.sampled_from(optional)))
    blind = [
        one.model_copy(update={"values": [None] * len(one.values)})
        if gone.draw(st.booleans())
        else one
        for one in report.series
    ]
    less = report.model_copy(
        update={
            "series": blind,
            "program": report.program.model_copy(
                update={
                    "processes": [
                        p.model_copy(update=dict.fromkeys(dropped))
                        for p in report.program.processes
                    ]
                }
            ),
        }
    )
    # That the SMs are at work speaks against small batches: not to know it takes that away.
    assert names(less) <= names(report) | {"tiny-batches"}


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(EVERYTHING))
def test_a_saved_report_is_judged_the_same_again(report: Report) -> None:
    assert find_all(Report.model_validate_json(report.model_dump_json())) == find_all(report)


# What single findings say


def test_device_not_propagated_shows_the_workers_and_their_parent() -> None:
    report = SICK["device-not-propagated"]["a pool whose parent trains on the GPU"]
    finding = found("device-not-propagated", report)
    assert finding.title == "2 of 2 worker processes run their network on the CPU, not on cuda"
    assert finding.evidence == [
        "cuda is expected: parent (pid 4000) holds a CUDA context",
        "worker (pid 4001): game.net.PolicyValueNet on cpu, 20,000 calls of 1.0 rows, "
        "1 intra-op thread, 0.5 ms each",
        "worker (pid 4002): game.net.PolicyValueNet on cpu, 20,000 calls of 1.0 rows, "
        "1 intra-op thread, 0.5 ms each",
        "parent (pid 4000): game.net.PolicyValueNet on cuda:0, 500 calls of 512.0 rows, "
        "holds a CUDA context",
    ]
    assert "network.load_state_dict(state), add: network.to(device)" in finding.remedy
    assert finding.remedy.endswith("blobdiag run --expect-device cpu")


def workers(**changes: object) -> Report:
    parent = on_gpu(0, training("cuda:0"))
    return watched([parent, process(1, calls("cpu"), **changes)], expect="cuda", gpu=True)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"start_method": "fork"}, 'get_context("spawn")'),
        ({"cuda_visible_devices": ""}, "CUDA_VISIBLE_DEVICES hides every GPU"),
        ({"torch": "2.13.0+cpu"}, "a build without CUDA"),
    ],
)
def test_other_obstacles_to_the_gpu_are_named(seen: dict[str, str], words: str) -> None:
    remedy = found("device-not-propagated", workers(**seen)).remedy
    assert words in remedy
    assert words not in found("device-not-propagated", workers()).remedy
    assert "--expect-device cpu" not in remedy


def test_one_process_alone_is_no_worker() -> None:
    finding = found(
        "device-not-propagated", SICK["device-not-propagated"]["one process that fell back"]
    )
    assert finding.title == "The network runs on the CPU, not on cuda"
    assert 'network.to("cuda")' in finding.remedy
    assert "On this machine no GPU was seen: the NVIDIA driver is not installed" in finding.remedy


def test_a_pid_that_was_used_again_is_not_a_parent_from_later() -> None:
    early: ProcessRecord = process(1, calls("cpu"), started_s=3.0)
    late = on_gpu(0, started_s=10.0)
    assert names(watched([late, early], gpu=True)) == set()


def test_small_batches_on_a_cpu_are_priced_by_the_trainer_s_rows() -> None:
    report = SICK["tiny-batches"]["one leaf on a CPU, where the trainer's rows cost less"]
    finding = found("tiny-batches", report)
    assert finding.evidence[-1] == (
        "a row takes 500 µs of a core in these calls, 39.1 µs in calls of 512 rows in the same run"
    )
    # 20,000 calls of 0.5 ms in 26 s of life, and 12.8 times less in them.
    share = 10 / 26
    assert finding.gain is not None
    assert finding.gain.self_play_factor == pytest.approx(1 / (1 - share + share / 12.8))


def test_contexts_are_named_with_their_memory() -> None:
    programs = SICK["context-per-worker"]
    idle = found("context-per-worker", programs["of CPU workers, by the parent's tensors"])
    assert idle.title.startswith("2 worker processes hold a CUDA context that they do not use")
    assert "520 MiB of the GPU by the driver, 20 MiB reserved by torch" in idle.evidence[0]
    assert "v.cpu()" in idle.remedy
    unlisted = found("context-per-worker", programs["memory is not listed"])
    assert "its memory is not known" in unlisted.evidence[0]
    full = found("context-per-worker", programs["eight fill a tenth of the card"])
    assert full.evidence[0] == "RTX 4090: 9 contexts take 6,000 of 24,000 MiB"


def test_the_remedy_names_the_mode_that_is_wrong() -> None:
    programs = SICK["train-mode-in-self-play"]
    dropout = found("train-mode-in-self-play", programs["dropout"]).remedy
    assert dropout == "network.eval() once, after it is built"
    gradients = found("train-mode-in-self-play", programs["gradients in a worker"]).remedy
    assert gradients == "with torch.inference_mode(): around these calls"


def test_threads_under_one_lock_are_counted_inside_their_calls() -> None:
    report = SICK["gil-bound-threads"]["eight threads share a network"]
    # 20,000 calls of 20 ms in 30 s.
    assert (
        "13.3 of them are inside a call at once" in found("gil-bound-threads", report).evidence[0]
    )
