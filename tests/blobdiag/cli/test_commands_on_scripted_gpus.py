"""The command line on a machine whose NVIDIA driver is scripted: real runs, real sampler.

The workers compute on the CPU: the GPUs beside them are played, and sampled all the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import in_process
from scripted_driver import MIG_UUID, NEEDS_DRIVER, UUIDS, driver, gpu, instance

from blobdiag.model.recorded import Series
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.targets.builtin import probing

pytestmark = NEEDS_DRIVER

COMPARE = (
    *("compare", "--games", "5", "--min-seconds", "2", "--device", "cpu"),
    *("--network", "64-1-4-64", "--simulations", "6", "--workers", "1", "--lanes", "8"),
)
SECONDS = 240

Compared = Callable[..., Report]


def blobdiag(
    folder: Path, scenario: dict[str, Any], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    ignored = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "CUDA_VISIBLE_DEVICES")
    inherited = {name: value for name, value in os.environ.items() if name not in ignored}
    run = subprocess.run(
        [sys.executable, "-m", "blobdiag", *arguments],
        cwd=folder,
        env=inherited | {"COLUMNS": "200"} | driver(folder, scenario) | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "Traceback" not in run.stderr + run.stdout
    return run


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compared:
    """Gives the report of a run that must go as it goes without a GPU."""

    def compared(scenario: dict[str, Any], **environment: str) -> Report:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(probing, "SECONDS", 0.1)
        # The sampler's process loads the driver, not this one.
        for name, value in (driver(tmp_path, scenario) | environment).items():
            monkeypatch.setenv(name, value)
        run = in_process(tmp_path, *COMPARE)
        assert run.returncode == 0, run.stderr
        assert "Traceback" not in run.stderr + run.stdout
        report = read_report(tmp_path / run.stdout.splitlines()[-1])
        assert report.exit_code == 0
        assert not [event for event in report.events if event.kind == "failed"]
        return report

    return compared


def series(report: Report, metric: str, uuid: str = UUIDS[0]) -> Series | None:
    return next((s for s in report.series if s.name == f"gpu/{uuid}/{metric}"), None)


def known(report: Report, metric: str, uuid: str = UUIDS[0]) -> list[float]:
    found = series(report, metric, uuid)
    return [] if found is None else [value for value in found.values if value is not None]


def unexplained(report: Report) -> set[str]:
    """Metrics of GPUs whose last value is null without a reason, or that are 0 from nowhere."""
    return {
        one.name
        for one in report.series
        if one.name.startswith("gpu/")
        and (one.values[-1] is None)
        and one.name not in report.unsupported
    }


def test_two_gpus_in_swapped_order_with_the_hosts_pids(compared: Compared) -> None:
    """Healthy, in a container; CUDA's order is that of the PCI bus, NVML's the other way round."""
    first = gpu(bus_id="00000000:65:00.0", processes=[{"pid": 900001, "memory": 812, "sm": 40}])
    second = gpu(UUIDS[1], bus_id="00000000:17:00.0", values=gpu()["values"] | {"utilization": 0})
    report = compared({"devices": [first, second]}, CUDA_DEVICE_ORDER="PCI_BUS_ID")
    order = {g.uuid: (g.nvml_index, g.cuda_index) for g in report.gpus}
    assert order == {UUIDS[0]: (0, 1), UUIDS[1]: (1, 0)}
    assert set(known(report, "utilization")) == {87}
    assert set(known(report, "utilization", UUIDS[1])) == {0}, "a zero that was measured"
    assert set(known(report, "process/900001/memory")) == {812}
    assert set(known(report, "process/900001/sm_utilization")) == {40}
    assert not unexplained(report)
    shortest = report.seconds_shortest_visible_gap
    assert shortest is not None
    assert 0.03 < shortest < 0.06, "from the driver's buffer of 20 ms"
    energy = next(m for m in report.metrics if m.name == "energy of GPU 0")
    seconds = report.seconds
    assert energy.value is not None
    assert 0.4 * 350.5 * seconds < energy.value < 1.1 * 350.5 * seconds
    cost = next(m for m in report.metrics if m.name == "sampler's own CPU")
    assert cost.value is not None


@pytest.mark.slow
def test_order_that_cuda_does_not_define_is_null_with_its_reason(compared: Compared) -> None:
    """And both GPUs support nothing but their names."""
    bare = {"values": {}, "gpm": {}}
    devices = [gpu(**bare), gpu(UUIDS[1], **bare)]
    for device in devices:
        del device["buffer"]
    report = compared({"devices": devices})
    assert [g.cuda_index for g in report.gpus] == [None, None]
    for g in report.gpus:
        assert "fastest GPU first" in report.unsupported[f"gpu/{g.uuid}/cuda_index"]
        for metric in ("utilization", "memory_used", "sm_activity", "utilization_samples", "power"):
            assert "not supported" in report.unsupported[f"gpu/{g.uuid}/{metric}"]
            assert series(report, metric, g.uuid) is None
    assert report.seconds_shortest_visible_gap is None
    energy = next(m for m in report.metrics if m.name == "energy of GPU 0")
    assert energy.value is None
    assert "not supported" in (energy.reason or "")


@pytest.mark.slow
def test_mig_device_and_an_empty_sample_buffer(compared: Compared) -> None:
    values = {"memory_used": 4096, "power": 200}
    scenario = {"devices": [gpu(values=values, buffer=0, mig=[instance()])]}
    report = compared(scenario, CUDA_VISIBLE_DEVICES=MIG_UUID)
    whole, part = report.gpus
    assert (whole.cuda_index, part.cuda_index) == (None, 0)
    assert part.mig is not None
    assert part.mig.parent_uuid == whole.uuid
    assert set(known(report, "memory_used", MIG_UUID)) == {512}
    assert "not supported" in report.unsupported[f"gpu/{MIG_UUID}/utilization"]
    assert series(report, "utilization", MIG_UUID) is None
    assert known(report, "utilization_samples") == []
    assert "no entry" in report.unsupported[f"gpu/{whole.uuid}/utilization_samples"]
    assert not unexplained(report)


@pytest.mark.slow
def test_driver_that_disappears(compared: Compared) -> None:
    """From each GPU in a way of its own."""
    failures = {15: "GPU is lost", 999: "Unknown Error", 1: "the driver was shut down"}
    uuids = [*UUIDS, "GPU-33333333-aaaa-bbbb-cccc-000000000003"]
    busy = [{"pid": 900001, "memory": 812, "sm": 40}]
    report = compared(
        {
            "devices": [gpu(uuid, processes=busy) for uuid in uuids],
            "errors": [
                {"function": "*", "device": number, "code": code, "from": 3}
                for number, code in enumerate(failures)
            ],
        }
    )
    for uuid, text in zip(uuids, failures.values(), strict=True):
        found = series(report, "utilization", uuid)
        assert found is not None
        assert found.values[0] == 87
        assert found.values[-1] is None
        assert 0 not in found.values
        assert text in report.unsupported[f"gpu/{uuid}/utilization"]
        events = [event.text for event in report.events if text in event.text]
        assert len(events) == 1, "told once"
    assert not unexplained(report)
    assert not any("sampler died" in event.text for event in report.events)


@pytest.mark.slow
def test_driver_that_takes_the_sampler_with_it(compared: Compared) -> None:
    crash = {"function": "*", "code": -signal.SIGSEGV, "from": 3}
    report = compared({"devices": [gpu()], "errors": [crash]})
    assert set(known(report, "utilization")) == {87}
    assert any("killed by SIGSEGV" in event.text for event in report.events)


@pytest.mark.slow
def test_driver_without_most_of_its_functions(compared: Compared) -> None:
    missing = [
        *("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetSamples", "nvmlGpmQueryDeviceSupport"),
        *("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetPciInfo_v3"),
    ]
    report = compared({"devices": [gpu()], "missing": missing})
    for metric in ("utilization", "utilization_samples", "processes"):
        assert "function not found" in report.unsupported[f"gpu/{UUIDS[0]}/{metric}"]
    assert set(known(report, "power")) == {350.5}
    assert not unexplained(report)


class TestDoctor:
    def test_says_which_gpu_is_which(self, tmp_path: Path) -> None:
        devices = [gpu(bus_id="00000000:65:00.0"), gpu(UUIDS[1], bus_id="00000000:17:00.0")]
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        text = blobdiag(tmp_path, {"devices": devices}, "doctor", **order).stdout
        assert "575.51.03, CUDA up to 12.9: NVIDIA Scripted H1, NVIDIA Scripted H1" in text
        assert f"cuda:0 is {UUIDS[1]}; cuda:1 is {UUIDS[0]}" in text

    def test_broken_driver(self, tmp_path: Path) -> None:
        error = {"function": "nvmlDeviceGetUUID", "code": 15}
        run = blobdiag(tmp_path, {"devices": [gpu()], "errors": [error]}, "doctor")
        assert run.returncode in (0, 1, 3)
        assert "NVIDIA driver" in run.stdout
        assert "offers no GPU" in run.stdout

    @pytest.mark.slow
    def test_split_gpu(self, tmp_path: Path) -> None:
        scenario = {"devices": [gpu(mig=[instance()])]}
        run = blobdiag(tmp_path, scenario, "doctor", CUDA_VISIBLE_DEVICES="MIG-GPU-nonsense/1/2")
        assert "split: NVIDIA Scripted H1" in run.stdout
        assert "names no GPU here" in run.stdout
