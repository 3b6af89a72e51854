"""What only a GPU can show: same answers, workers on it, the commands end to end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from blobdiag.model.base import Status
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from engine.matches.evaluation import Evaluation
from engine.matches.players import random_player, raw_player
from engine.network.blobnet import BlobNet, InferenceNet, NetworkConfig, build_network
from engine.network.devices import device_uuid
from engine.network.evaluator import Evaluator
from engine.network.precision import difference, policies_and_values, probe_states
from engine.search.batches import new_batch
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import DEVICE, Injection
from engine.selfplay.pool import DeviceMismatch
from engine.selfplay.results import SelfPlayResult
from engine.training.replay import ReplayBuffer
from engine.training.trainer import NetworkTrainer

pytestmark = pytest.mark.gpu

SMALL = NetworkConfig(32, 2, 4, 64)
FLOAT32_TOLERANCE = 1e-3
"""Largest difference of a probability or a value between devices, both in float32."""
SECONDS = 300
"""More than any command takes, CUDA's start and the kernels' compilation included."""


@pytest.fixture(scope="module")
def network() -> BlobNet:
    return build_network(SMALL, "cpu", seed=1)


def engine_on(device: str, network: BlobNet) -> SelfPlayEngine:
    return SelfPlayEngine(
        network,
        num_workers=1,
        threads=2,
        lanes=16,
        seed=4,
        num_determinizations=2,
        simulations_per_determinization=6,
        device=device,
    )


# Answers


@pytest.mark.parametrize("config", [SMALL, NetworkConfig()], ids=str)
def test_float32_answers_are_those_of_the_cpu(config: NetworkConfig) -> None:
    network, states = build_network(config, "cpu", seed=2), probe_states(512)
    on_cpu, on_gpu = InferenceNet(network), InferenceNet(network).to("cuda")
    assert {p.device.type for p in on_gpu.parameters()} == {"cuda"}
    assert max(difference(on_cpu, on_gpu, states)) < FLOAT32_TOLERANCE
    # Answers that are all alike would agree whatever the device computes.
    policy, value = policies_and_values(on_gpu, states)
    assert policy.std(0).max() > FLOAT32_TOLERANCE
    assert value.std(0).max() > FLOAT32_TOLERANCE


def test_bfloat16_answers_lie_within_the_stated_tolerance() -> None:
    network, states = build_network(NetworkConfig(), "cpu", seed=2), probe_states(512)
    exact = InferenceNet(network)
    fast = InferenceNet(network).to("cuda", torch.bfloat16)
    seen = difference(exact, fast, states)
    assert seen.within_tolerance
    assert max(seen) > 0


def test_a_match_is_that_of_the_cpu(network: BlobNet) -> None:
    """Move for move, but where two priors are equal in all but the last bit."""
    scores = []
    for device in ("cpu", "cuda"):
        inference = InferenceNet(network).to(device).eval()
        match = Evaluation(raw_player(inference), random_player(), deals=200, seed=3)
        match.play()
        assert match.finished.all()
        scores.append(match.scores)
    assert (scores[0] == scores[1]).all((1, 2)).mean() >= 0.98


def evaluated(inference: InferenceNet, states: np.ndarray, graphs: bool) -> np.ndarray:
    """[rows, ANSWERS] through an evaluator, whose batch has more room than there are rows."""
    batch = new_batch(len(states) + 32, pinned=True)
    batch.states[: len(states)] = states
    evaluator = Evaluator(inference, batch.states, batch.answers, graphs)
    evaluator.submit(len(states))
    evaluator.wait()
    return batch.answers[: len(states)].copy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_graph_gives_the_eager_answers_and_those_of_new_weights(dtype: torch.dtype) -> None:
    old, new = (build_network(NetworkConfig(), "cuda", seed=seed) for seed in (1, 2))
    inference, states = InferenceNet(old).to(dtype), probe_states(512).numpy()
    batch = new_batch(512, pinned=True)
    batch.states[:] = states
    evaluator = Evaluator(inference, batch.states, batch.answers)
    for network in (old, new):
        inference.refold(network)
        torch.cuda.synchronize()
        evaluator.submit(512)
        evaluator.wait()
        eager = evaluated(inference, states, graphs=False)
        np.testing.assert_allclose(batch.answers, eager, atol=FLOAT32_TOLERANCE)
        assert batch.answers.std(0).max() > FLOAT32_TOLERANCE


# Self-play


def test_the_handshake_names_a_gpu_that_nvml_knows(network: BlobNet) -> None:
    import pynvml

    pynvml.nvmlInit()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        known = {pynvml.nvmlDeviceGetUUID(handle) for handle in handles}
    finally:
        pynvml.nvmlShutdown()
    with engine_on("cuda", network) as engine:
        [handshake] = engine.pool.handshakes
    assert handshake.device_asked == "cuda:0"
    assert handshake.parameter_devices == ("cuda:0",)
    assert handshake.output_device == "cuda:0"
    assert handshake.on_its_device
    assert handshake.device_uuid in known
    assert handshake.device_uuid == device_uuid(torch.device("cuda:0"))


def first_bids(result: SelfPlayResult) -> np.ndarray:
    """The state of each game's first decision, in the order of the games."""
    games = result.examples.game
    return result.examples.states[np.flatnonzero(np.diff(games, prepend=-1))]


def test_the_gpu_plays_the_same_deals_as_the_cpu(network: BlobNet) -> None:
    results = []
    for device in ("cpu", "cuda"):
        with engine_on(device, network) as engine:
            results.append(engine.generate_games(40))
        assert results[-1].games == 40
        assert results[-1].tally["distinct"] == results[-1].tally["evaluations"]
        assert set(results[-1].examples.game) == set(range(40))
    np.testing.assert_array_equal(first_bids(results[0]), first_bids(results[1]))


def test_a_network_left_on_the_cpu_is_refused(network: BlobNet) -> None:
    engine = SelfPlayEngine(
        network, num_workers=2, lanes=4, device="cuda", injection=Injection(DEVICE)
    )
    with pytest.raises(DeviceMismatch, match=r"asked cuda:\d+, parameters on cpu"):
        engine.start()
    assert engine.pool.workers == []


def test_the_bare_network_is_measured_on_the_gpu(network: BlobNet) -> None:
    with engine_on("cuda", network) as engine:
        engine.generate_games(10)
        assert engine.measure_network(0.5) > 0


# Training


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_on_the_gpu_reduces_the_loss(dtype: str) -> None:
    network = build_network(SMALL, "cpu", seed=3)
    with engine_on("cpu", network) as engine:
        examples = engine.generate_games(60).examples
        buffer = ReplayBuffer(10_000, 0)
        buffer.add(examples)
        trainer = NetworkTrainer(network, "cuda", batch_size=256, dtype=dtype)
        result = trainer.train(buffer, 200)
        assert {p.device.type for p in network.parameters()} == {"cuda"}
        losses = [loss.total for loss in result.losses]
        assert np.mean(losses[-20:]) < 0.95 * np.mean(losses[:20])
        # Trained on the GPU, played on the CPU: the weights must find their way.
        assert engine.update_weights(network) == engine.pool.handshakes[0].weights_hash


# The commands


def measured(folder: Path, *arguments: str) -> Report:
    """Run a command with `--device cuda`; what it ends with is the report's own exit code."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "blobdiag", *arguments, "--device", "cuda"),
            *("--network", str(SMALL), "--simulations", "6", "--determinizations", "2"),
            *("--lanes", "64", "--threads", "2"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    # A small network cannot keep a GPU busy: it may well be judged, but never refused.
    assert result.returncode in (0, 1, 3), result.stderr
    assert "Traceback" not in result.stderr
    report = read_report(folder / result.stdout.splitlines()[-1])
    assert report.exit_code == result.returncode
    return report


def assert_sampled_on_cuda(report: Report) -> None:
    assert report.gpus
    uuids = {gpu.uuid for gpu in report.gpus}
    on_cuda = [w for w in report.workers if w.device_asked.startswith("cuda")]
    assert on_cuda
    for worker in on_cuda:
        assert re.fullmatch(r"cuda:\d+", worker.output_device)
        assert worker.parameter_devices == [worker.output_device]
        assert worker.device_uuid in uuids
    used = {worker.device_uuid for worker in on_cuda}
    series = {s.name: s.values for s in report.series}
    for uuid in used:
        known = [v for v in series[f"gpu/{uuid}/utilization"] if v is not None]
        assert known
        assert all(0 <= value <= 100 for value in known)


def status_of(report: Report, name: str) -> Status:
    return next(check.status for check in report.checks if check.name == name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


def test_check_gpu_measures_the_gpu(folder: Path) -> None:
    report = measured(folder, "check-gpu", "--games", "100", "--min-seconds", "6")
    assert_sampled_on_cuda(report)
    assert status_of(report, "workers on the device") is Status.PASS
    assert status_of(report, "self-play GPU utilisation") in (Status.PASS, Status.FAIL)
    [gpu] = report.throughput
    assert gpu.games >= 100
    assert gpu.window_seconds >= 6
    assert next(m.value for m in report.metrics if m.name == "bare network")


def test_check_gpu_finds_the_injected_bug_on_a_real_gpu(folder: Path) -> None:
    report = measured(
        folder,
        *("check-gpu", "--games", "20", "--min-seconds", "2"),
        *("--inject", "device-not-propagated"),
    )
    assert report.exit_code == 1
    assert [f.name for f in report.findings if f.name == "device-not-propagated"]
    assert all(worker.parameter_devices == ["cpu"] for worker in report.workers)


def test_compare_measures_both_devices(folder: Path) -> None:
    report = measured(folder, "compare", "--games", "100", "--min-seconds", "6", "--workers", "1")
    assert_sampled_on_cuda(report)
    assert [t.device for t in report.throughput] == ["cpu", "cuda"]
    for throughput in report.throughput:
        assert throughput.games >= 100
        assert throughput.window_seconds >= 6
        assert throughput.search_health.distinct_share is not None
        assert throughput.search_health.distinct_share >= 0.99
    assert status_of(report, "same answers on both devices") is Status.PASS
    assert status_of(report, "GPU speed-up") is not Status.NOT_APPLICABLE


def test_iteration_plays_and_trains_on_the_gpu(folder: Path) -> None:
    report = measured(folder, "iteration", "--games", "2000", "--reuse", "20")
    assert_sampled_on_cuda(report)
    names = [phase.name for phase in report.phases]
    for phase in ("self-play", "training", "weight refresh"):
        assert phase in names
    assert len({worker.weights_hash for worker in report.workers}) == 1
