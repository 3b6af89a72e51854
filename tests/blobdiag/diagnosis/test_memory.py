"""The memory of a plan, from the sizes in the report or, for older ones, from a table."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import reports
from blobdiag.diagnosis.gpu_processes import MOST_CONTEXT_MIB
from blobdiag.diagnosis.memory import MIB, batch_rows, memory_of
from blobdiag.diagnosis.old_memory_figures import old_memory_figures
from blobdiag.model.capacity import Memory
from blobdiag.model.machine import Gpu, Machine
from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.recorded import Series
from blobdiag.model.report import Report
from engine.memory import memory_figures
from engine.network.blobnet import NetworkConfig
from engine.search import batches
from engine.search.lanes import SearchConfig

CONFIGURATION = {
    "network": "256-6-8-1024",
    "players": 4,
    "cards": 5,
    "determinizations": 3,
    "simulations": 30,
}
FIGURES = MemoryFigures(**memory_figures(NetworkConfig(), SearchConfig())._asdict())


def test_the_table_for_older_reports_holds_the_sizes_of_their_engine() -> None:
    """Equal to today's for as long as no array changes; then, to the figures written here."""
    for network, search in (
        (NetworkConfig(), SearchConfig()),
        (NetworkConfig(64, 1, 4, 96), SearchConfig(6, 3, 5, 20)),
    ):
        played = {name: getattr(search, name) for name in list(CONFIGURATION)[1:]}
        old = old_memory_figures(on_cpu(configuration={"network": str(network), **played}))
        assert old == MemoryFigures(**memory_figures(network, search)._asdict())
    assert (FIGURES.parameters, FIGURES.lane_bytes) == (4_921_034, 60_300)


def test_a_report_s_own_sizes_come_before_the_table() -> None:
    doubled = FIGURES.model_copy(update={"lane_bytes": 2 * FIGURES.lane_bytes})
    assert made(on_cpu(memory=FIGURES)) == made(on_cpu())
    assert made(on_cpu(memory=doubled)).host.mib == 2 * made(on_cpu()).host.mib


def test_batches_are_cut_as_the_engine_cuts_them() -> None:
    for count in range(1, 400):
        assert batch_rows(count, FIGURES) == batches.batch_rows(count, 3)


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
    assert "CUDA context's size is unknown" in found.assumptions[1]
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
    larger = with_lanes(fit.lanes_per_worker + threads * FIGURES.groups_per_thread)
    assert larger.rows_per_batch == fit.rows_per_batch + FIGURES.row_multiple
    for found, fits in ((largest, True), (larger, False)):
        own = found.total_mib - mib(found).get("beyond the model", 0.0) + beyond
        assert (own * MIB <= card * 1e9) is fits


def test_nothing_fits_a_card_that_the_contexts_fill() -> None:
    fit = made(on_cpu(), 1.0).fit
    assert fit is not None
    assert (fit.rows_per_batch, fit.lanes_per_worker) == (None, None)
    assert fit.reason is not None
    assert "already take 2.50 GB" in fit.reason


def test_no_model_without_the_configuration() -> None:
    report = on_cpu(configuration={"network": "256-6-8-1024"})
    assert (
        memory_of(report, report.throughput[0])
        == "the report does not hold its network and search settings"
    )
    for text in ("256-6-8", "a-b-c-d", "256-6-8-0", None):
        changed = on_cpu(configuration=CONFIGURATION | {"network": text})
        assert old_memory_figures(changed) is None


def test_the_hosts_memory_bounds_the_lanes() -> None:
    machine = Machine(platform="", cpu="", cores_usable=2, cores_total=2, memory_gib=1.0)
    found = made(on_cpu(machine=machine))
    assert found.host_lanes == 2**30 // FIGURES.lane_bytes
    assert found.host.mib == pytest.approx(192 * FIGURES.lane_bytes / MIB)
