"""The memory model against the engine's own arrays and what torch really allocates."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import reports
from blobdiag.diagnosis import memory
from blobdiag.diagnosis.memory import Search, Shape, batch_rows, memory_of, shape_of
from blobdiag.model.capacity import Memory
from blobdiag.model.report import Gpu, Machine, Report, Series
from blobdiag.sampling.nvidia.processes import MIB, MOST_CONTEXT_MIB
from engine.game import encoding, rules
from engine.network import blobnet as network
from engine.network import evaluator
from engine.network.blobnet import FoldedLinear, InferenceNet, NetworkConfig, build_network
from engine.search import batches, lanes
from engine.search import trees as search
from engine.search.lanes import SearchConfig, new_group, temperature_table
from engine.selfplay.layout import groups_on
from engine.training.trainer import policy_loss, value_loss

SHAPES = [Shape(256, 6, 8, 1024), Shape(64, 1, 4, 96), Shape(128, 3, 2, 512)]
ROWS = 1_024
"""So many that scratch of a fixed size is small beside them."""
CONFIGURATION = {
    "network": "256-6-8-1024",
    "players": 4,
    "cards": 5,
    "determinizations": 3,
    "simulations": 30,
}


def test_the_numbers_are_the_engines() -> None:
    assert (memory.STATE_DIM, memory.ACTIONS) == (encoding.STATE_DIM, rules.ACTIONS)
    assert (memory.SEATS, memory.ANSWERS) == (rules.MAX_PLAYERS, network.ANSWERS)
    assert (lanes.LANE.itemsize, rules.GAME.itemsize) == (memory.LANE, memory.GAME)
    records = (search.NODE, search.EDGE, search.TREE)
    assert tuple(r.itemsize for r in records) == (memory.NODE, memory.EDGE, memory.TREE)
    assert (memory.PAD, memory.FULL_SHARE) == (evaluator.PAD, batches.FULL_SHARE)
    assert groups_on(torch.device("cuda")) == memory.GROUPS_ON_CUDA
    for count in range(1, 400):
        assert batch_rows(count, 3) == batches.batch_rows(count, 3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_weight_is_counted(shape: Shape) -> None:
    plain = build_network(NetworkConfig(*shape), "meta")
    assert shape.parameters == sum(p.numel() for p in plain.parameters())
    with torch.device("cpu"):
        folded = InferenceNet(build_network(NetworkConfig(*shape), "cpu"))
    assert shape.inference_parameters == sum(p.numel() for p in folded.parameters())


@pytest.mark.parametrize(("players", "cards", "trees"), [(4, 5, 3), (6, 3, 5)])
def test_a_lane_is_as_large_as_its_arrays(players: int, cards: int, trees: int) -> None:
    config = SearchConfig(players=players, cards=cards, determinizations=trees, simulations=20)
    batch = batches.new_batch(64, pinned=False)
    group = new_group(config, 40, temperature_table(None, cards), batch)
    real = sum(array.nbytes for array in [*group.lanes, *group.trees])
    assert Search(players, cards, trees, 20).lane_bytes * 40 == real


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that `call` held at once of what it allocated from torch."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_activations_are_what_a_batch_allocates(shape: Shape, dtype: str) -> None:
    """On the CPU, with the layers as a GPU runs them: not packed."""
    kind = getattr(torch, dtype)
    folded = InferenceNet(build_network(NetworkConfig(*shape), "cpu")).to(kind)
    assert not any(m.packed is not None for m in folded.modules() if isinstance(m, FoldedLinear))
    states = torch.zeros(ROWS, encoding.STATE_DIM)
    with torch.inference_mode():
        folded(states.to(kind))
        seen = peak_bytes(lambda: folded(states.to(kind)))
    outside = 4 * (memory.STATE_DIM + memory.ANSWERS)
    # Some kernels have scratch of their own, by thread: up to a twentieth of so small networks'.
    assert seen == pytest.approx(ROWS * (shape.row_bytes(dtype) - outside), rel=0.05)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_keeps_what_the_model_says(shape: Shape) -> None:
    net = build_network(NetworkConfig(*shape), "cpu").train()
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    legal, seats = torch.ones(ROWS, rules.ACTIONS) > 0, torch.ones(ROWS, rules.MAX_PLAYERS) > 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits, values = net(torch.zeros(ROWS, encoding.STATE_DIM))
        loss = policy_loss(logits, legal, torch.full((ROWS, rules.ACTIONS), 1 / rules.ACTIONS))
        loss = loss + value_loss(values, torch.zeros(values.shape), seats)
    assert loss.requires_grad
    scalars = 64
    assert sum(kept.values()) == pytest.approx(ROWS * shape.training_row_bytes, abs=scalars)


# Of a report


def on_cpu(**changes: object) -> Report:
    return reports.minimal(
        configuration=CONFIGURATION, throughput=[reports.throughput("cpu", lanes=192, workers=2)]
    ).model_copy(update=changes)


def on_gpu(capability: str = "9.0", listed: bool = True) -> Report:
    """Two workers on one GPU, which the driver lists with 700 MiB more than torch reserved."""
    workers = [
        reports.worker(n, device_uuid=reports.UUID, gpu_memory_mib=900.0 + n) for n in range(2)
    ]
    series = [
        Series(
            name=f"gpu/{reports.UUID}/process/{w.pid}/memory",
            unit="MiB",
            times_s=[5.0],
            values=[1_600.0 + w.worker],
        )
        for w in workers
    ]
    return reports.full(
        configuration=CONFIGURATION,
        workers=workers,
        series=series if listed else [],
        throughput=[reports.throughput(workers=2, threads=4, lanes=8_192)],
        gpus=[Gpu(uuid=reports.UUID, name="NVIDIA H100", compute_capability=capability)],
    )


def made(report: Report, card_gb: float | None = None) -> Memory:
    found = memory_of(report, report.throughput[-1], card_gb)
    assert isinstance(found, Memory)
    return found


def mib(found: Memory) -> dict[str, float]:
    return {term.name: term.mib for term in found.terms}


def total(terms: Iterable[float]) -> float:
    return pytest.approx(sum(terms))  # type: ignore[no-any-return]


def test_what_is_not_known_of_a_card_is_an_assumption_by_name() -> None:
    found = made(on_cpu())
    assert found.assumptions[0].startswith("measured on the CPU")
    assert "CUDA context's size is not known" in found.assumptions[1]
    assert "cuBLAS" in found.assumptions[2]
    terms = mib(found)
    assert terms["CUDA context"] == 2 * MOST_CONTEXT_MIB
    assert terms["weights, plain form"] == pytest.approx(2 * 4 * 4_921_034 / MIB)
    assert "beyond the model" not in terms
    assert not any("trainer" in name for name in terms)
    assert found.total_mib == total(terms.values())


def test_measured_memory_replaces_the_model() -> None:
    found = made(on_gpu())
    terms = mib(found)
    assert terms["CUDA context"] == pytest.approx(2 * 700.0)
    assert found.assumptions == []
    assert found.total_mib == pytest.approx(2 * (700.0 + 901.0))
    assert terms["cuBLAS workspaces"] == 2 * 4 * 2 * 32.0
    assert mib(made(on_gpu("8.6")))["cuBLAS workspaces"] == 2 * 4 * 2 * 8.125
    unlisted = made(on_gpu(listed=False))
    assert mib(unlisted)["CUDA context"] == 2 * MOST_CONTEXT_MIB
    assert len(unlisted.assumptions) == 1


@pytest.mark.parametrize(("report_", "card"), [(on_cpu(), 4.0), (on_gpu(), 24.0), (on_gpu(), 80.0)])
def test_the_largest_lanes_fit_and_one_step_more_does_not(report_: Report, card: float) -> None:
    fit = made(report_, card).fit
    assert fit is not None
    assert fit.lanes_per_worker is not None
    threads = report_.throughput[-1].threads

    def with_lanes(each: int) -> Memory:
        changed = report_.throughput[-1].model_copy(update={"lanes": 2 * each})
        found = memory_of(report_, changed)
        assert isinstance(found, Memory)
        return found

    # What was measured beyond the model is a figure of the run's own lanes: model alone here.
    beyond = mib(made(report_)).get("beyond the model", 0.0)
    largest = with_lanes(fit.lanes_per_worker)
    assert largest.rows_per_batch == fit.rows_per_batch
    larger = with_lanes(fit.lanes_per_worker + threads * memory.GROUPS_ON_CUDA)
    assert larger.rows_per_batch == fit.rows_per_batch + memory.PAD
    for found, fits in ((largest, True), (larger, False)):
        own = found.total_mib - mib(found).get("beyond the model", 0.0) + beyond
        assert (own * MIB <= card * 1e9) is fits


def test_nothing_fits_a_card_that_the_contexts_fill() -> None:
    fit = made(on_cpu(), 1.0).fit
    assert fit is not None
    assert (fit.rows_per_batch, fit.lanes_per_worker) == (None, None)
    assert fit.reason is not None
    assert "takes 2.50 GB alone" in fit.reason


def test_no_model_without_the_configuration() -> None:
    report = on_cpu(configuration={"network": "256-6-8-1024"})
    assert (
        memory_of(report, report.throughput[0]) == "the report does not say its network and search"
    )
    for text in ("256-6-8", "a-b-c-d", "256-6-8-0", None):
        assert shape_of(on_cpu(configuration={"network": text})) is None


def test_the_hosts_memory_bounds_the_lanes() -> None:
    machine = Machine(platform="", cpu="", cores_usable=2, cores_total=2, memory_gib=1.0)
    found = made(on_cpu(machine=machine))
    assert found.host_lanes == 2**30 // Search(4, 5, 3, 30).lane_bytes
    assert found.host.mib == pytest.approx(192 * Search(4, 5, 3, 30).lane_bytes / MIB)
