"""The reader through the real binding and its ctypes, on an NVML library built here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pynvml
import pytest
from scripted_driver import LIBRARY, MIG_UUID, NEEDS_DRIVER, UUIDS, driver, gpu, instance

from blobdiag.model import names

pytestmark = NEEDS_DRIVER

# Forks itself for every scenario, so that the imports are paid once.
PROGRAM = """
import ctypes, json, os, sys, time, traceback
from blobdiag.sampling.nvidia.nvml_reader import NvmlUnavailable, open_nvml
from blobdiag.sampling.source import Tier

def play(library, script, pauses):
    os.environ["SCRIPTED_NVML"] = script
    # The binding asks for the name, and finds the one of that name that is loaded.
    ctypes.CDLL(library)
    try:
        reader = open_nvml()
    except NvmlUnavailable as error:
        return {"reason": str(error)}
    rounds = []
    for pause in pauses:
        time.sleep(pause)
        start = time.monotonic()
        readings = [r for tier in Tier for r in reader.read(tier)]
        rounds.append([[r.name, r.value, r.time and r.time - start] for r in readings])
    output = {
        "gpus": [gpu.model_dump() for gpu in reader.gpus],
        "versions": [reader.driver, reader.cuda_driver],
        "rounds": rounds,
        "unsupported": reader.unsupported,
        "events": reader.take_events(),
    }
    reader.close()
    return output

for line in sys.stdin:
    if (child := os.fork()) == 0:
        try:
            answer = play(*json.loads(line))
        except BaseException:
            answer = {"crash": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(json.dumps({"crash": "it died"}), flush=True)
"""

CODES = sorted(
    value
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(value, int)
)
FUNCTIONS = {
    "nvmlDeviceGetUtilizationRates": {"utilization", "memory_utilization"},
    "nvmlDeviceGetMemoryInfo": {"memory_used"},
    "nvmlDeviceGetSamples": {"utilization_samples"},
    "nvmlGpmSampleGet": {"sm_activity", "sm_occupancy", "tensor_activity", "dram_activity"},
    "nvmlDeviceGetPowerUsage": {"power"},
    "nvmlDeviceGetClockInfo": {"sm_clock", "memory_clock"},
    "nvmlDeviceGetTemperature": {"temperature"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"clocks_event_reasons"},
    "nvmlDeviceGetTotalEnergyConsumption": {"energy"},
    "nvmlDeviceGetCurrPcieLinkGeneration": {"pcie_generation"},
    "nvmlDeviceGetCurrPcieLinkWidth": {"pcie_width"},
    "nvmlDeviceGetPcieThroughput": {"pcie_sent", "pcie_received"},
    "nvmlDeviceGetProcessUtilization": {"process_utilization"},
}
PROCESSES = "nvmlDeviceGetComputeRunningProcesses_v3"
METRICS = set(names.GPU_UNITS)
BUSY = {"pid": 4242, "memory": 812, "sm": 40}


class ReaderOutput:
    """What a reader in its own process read; names without `gpu/<uuid>/` of one device."""

    def __init__(self, answer: dict[str, Any], uuid: str) -> None:
        self.gpus = answer["gpus"]
        self.versions = answer["versions"]
        self.events = answer["events"]
        prefix = names.gpu(uuid, "")
        self.reasons = {
            name.removeprefix(prefix): reason
            for name, reason in answer["unsupported"].items()
            if name.startswith(prefix)
        }
        self.readings = [
            [(n.removeprefix(prefix), v, t) for n, v, t in readings if n.startswith(prefix)]
            for readings in answer["rounds"]
        ]
        self.rounds = [{name: value for name, value, _ in one} for one in self.readings]


@cache
def server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module", autouse=True)
def ended_server() -> Iterator[None]:
    yield
    server().communicate()
    server.cache_clear()


def answer(folder: Path, scenario: dict[str, Any], *pauses: float) -> dict[str, Any]:
    environment = driver(folder, scenario)
    library = Path(environment["LD_LIBRARY_PATH"]) / LIBRARY
    order = [str(library), environment["SCRIPTED_NVML"], pauses or (0.0, 0.11)]
    process = server()
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps(order), file=process.stdin, flush=True)
    output = json.loads(process.stdout.readline())
    assert "crash" not in output, output["crash"]
    return output


def read_scenario(
    folder: Path, scenario: dict[str, Any], *pauses: float, uuid: str = UUIDS[0]
) -> ReaderOutput:
    return ReaderOutput(answer(folder, scenario, *pauses), uuid)


def one(**changes: Any) -> dict[str, Any]:
    return {"devices": [gpu(**changes)]}


def failing(code: int, function: str = "*", **when: Any) -> dict[str, Any]:
    error = {"function": function, "code": code, **when}
    return one(processes=[BUSY]) | {"errors": [error]}


def test_every_metric_is_read_by_a_function() -> None:
    assert set().union(*FUNCTIONS.values()) | {"processes"} == METRICS


def test_what_the_library_returns_arrives(tmp_path: Path) -> None:
    read = read_scenario(tmp_path, one(processes=[BUSY]), 0.11, 0.11)
    (device,) = read.gpus
    assert (device["uuid"], device["memory_mib"]) == (UUIDS[0], 81920)
    assert (device["compute_capability"], device["pci_bus_id"]) == ("9.0", "00000000:17:00.0")
    assert (device["mig_enabled"], device["mig"]) == (False, None)
    assert read.versions == ["575.51.03", "12.9"]
    assert read.reasons == {}
    assert read.events == []
    for values in read.rounds:
        assert values.keys() == METRICS | {"process/4242/memory", "process/4242/sm_utilization"}
        assert None not in values.values()
    last = read.rounds[-1]
    assert (last["utilization"], last["memory_used"], last["power"]) == (87, 3072, 350.5)
    assert (last["sm_activity"], last["dram_activity"]) == (71.5, 48)
    assert (last["pcie_sent"], last["pcie_received"], last["pcie_width"]) == (12.5, 900, 16)
    assert (last["process/4242/memory"], last["process/4242/sm_utilization"]) == (812, 40)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_every_error_class_at_every_function(tmp_path: Path, code: int) -> None:
    """No value, no zero, but a reason for each metric."""
    faults = [{"function": name, "code": code} for name in FUNCTIONS]
    read = read_scenario(tmp_path, one(processes=[BUSY]) | {"errors": faults})
    for metric in METRICS - {"processes"}:
        assert read.rounds[-1].get(metric) is None
        assert read.reasons[metric].startswith("NVML: "), metric
    assert len(read.events) <= 1, "once, not for every metric and turn"


def test_a_driver_that_dies_in_the_middle(tmp_path: Path) -> None:
    read = read_scenario(tmp_path, failing(1, **{"from": 1}), 0.0, 1.0, 0.0)
    before, *_, after = read.rounds
    assert before["utilization"] == 87
    assert set(after.values()) == {None}
    assert {read.reasons[metric] for metric in METRICS} == {"NVML: the driver was shut down"}
    assert len(read.events) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("function", "metrics"), FUNCTIONS.items())
@pytest.mark.parametrize("fault", ["not supported", "transient", "missing"])
def test_a_function_that_fails_takes_only_its_metrics(
    tmp_path: Path, function: str, metrics: set[str], fault: str
) -> None:
    code = {"not supported": 3, "transient": 10, "missing": None}[fault]
    scenario = one(processes=[BUSY]) | {"missing": [function]}
    if code is not None:
        scenario = failing(code, function)
    read = read_scenario(tmp_path, scenario)
    values = read.rounds[-1]
    assert {name for name in METRICS if values.get(name) is None} == metrics
    assert {name for name in read.reasons if name in METRICS} == metrics
    assert all(values[name] != 0 for name in METRICS - metrics)
    # What will never be had is left out; what may come back is null in its series.
    assert all((name in values) == (fault == "transient") for name in metrics)


def test_transient_error_passes(tmp_path: Path) -> None:
    error = {"from": 0.5, "until": 1.5}
    read = read_scenario(tmp_path, failing(999, "nvmlDeviceGetPowerUsage", **error), 0.0, 0.7, 1.0)
    assert [values["power"] for values in read.rounds] == [350.5, None, 350.5]
    assert read.reasons == {}
    assert read.events == [f"NVIDIA Scripted H1: Unknown Error ({names.gpu(UUIDS[0], 'power')})"]


def test_a_lost_gpu_leaves_the_other_alone(tmp_path: Path) -> None:
    scenario = {
        "devices": [gpu(), gpu(UUIDS[1])],
        "errors": [{"function": "*", "device": 0, "code": 15, "from": 1}],
    }
    output = answer(tmp_path, scenario, 0.0, 1.1)
    lost, other = ReaderOutput(output, UUIDS[0]), ReaderOutput(output, UUIDS[1])
    assert set(lost.rounds[-1].values()) == {None}
    assert lost.reasons["utilization"] == "NVML: GPU is lost"
    assert other.rounds[-1]["utilization"] == 87
    assert len(lost.events) == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (9, "driver is not loaded"),
        (18, "differ in version"),
        (4, "no permission"),
        (13, "lacks functions"),
        (999, "NVML: Unknown Error"),
        (27, "NVML: scripted error text"),
    ],
)
def test_library_that_does_not_start(tmp_path: Path, code: int, text: str) -> None:
    assert text in answer(tmp_path, failing(code, "nvmlInitWithFlags"))["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_gpus_that_cannot_be_listed(tmp_path: Path, code: int) -> None:
    for function in ("nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"):
        reason = answer(tmp_path, failing(code, function))["reason"]
        assert "575.51.03 offers no GPU: " in reason
        assert "\n" not in reason


@pytest.mark.parametrize(
    "missing",
    [
        ["nvmlInitWithFlags"],
        ["nvmlDeviceGetCount_v2"],
        ["nvmlDeviceGetUUID"],
        ["nvmlShutdown", "nvmlDeviceGetUUID"],
    ],
)
def test_library_without_what_nothing_goes_without(tmp_path: Path, missing: list[str]) -> None:
    assert answer(tmp_path, one() | {"missing": missing})["reason"]


def test_library_that_is_none(tmp_path: Path) -> None:
    (tmp_path / LIBRARY).write_text("no library")
    code = "from blobdiag.sampling.sampler import MachineSource; print(MachineSource().gpu_reason)"
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "LD_LIBRARY_PATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | paths
    )
    assert "NVML shared library not found" in run.stdout, run.stderr


def test_no_gpu_at_all(tmp_path: Path) -> None:
    assert "offers no GPU: it lists none" in answer(tmp_path, {"devices": []})["reason"]


def test_identity_that_is_not_known_is_null(tmp_path: Path) -> None:
    missing = ["nvmlDeviceGetName", "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetMigMode"]
    missing += ["nvmlDeviceGetCudaComputeCapability", "nvmlSystemGetCudaDriverVersion"]
    read = read_scenario(tmp_path, one() | {"missing": missing})
    (device,) = read.gpus
    assert device["name"] == "unknown"
    nulls = ("pci_bus_id", "mig_enabled", "compute_capability")
    assert [device[name] for name in nulls] == [None] * 3
    assert read.versions == ["575.51.03", None]
    assert read.rounds[-1]["utilization"] == 87


class TestSampleBuffer:
    def test_samples_are_finer_than_the_polling_and_on_our_clock(self, tmp_path: Path) -> None:
        values = gpu()["values"] | {"utilization": [[0, 90], [0.5, 0], [0.75, 90]]}
        read = read_scenario(tmp_path, one(values=values), 0.0, 1.0)
        samples = [(t, v) for name, v, t in read.readings[-1] if name == "utilization_samples"]
        assert 45 <= len(samples) <= 60
        times = [t for t, _ in samples]
        assert all(a < b for a, b in pairwise(times))
        steps = sorted(b - a for a, b in pairwise(times))
        assert steps[len(steps) // 2] == pytest.approx(0.02, abs=1e-3)
        assert -0.01 < times[-1] < 0.2, "the newest is of the moment of reading"
        # A gap of a quarter of a second, which no polling at 0.2 s with its average would show.
        assert 11 <= sum(value == 0 for _, value in samples) <= 14

    def test_nothing_is_read_twice(self, tmp_path: Path) -> None:
        read = read_scenario(tmp_path, one(buffer=0.1), 0.0, 0.3, 0.3, 0.3)
        count = sum(
            name == "utilization_samples" and value is not None
            for readings in read.readings[1:]
            for name, value, _ in readings
        )
        # Three readings of 0.3 s, and 0.04 s that each throughput call takes.
        assert 9 <= count <= 13

    def test_empty_buffer_is_null_with_a_reason(self, tmp_path: Path) -> None:
        read = read_scenario(tmp_path, one(buffer=0))
        assert read.rounds[-1]["utilization_samples"] is None
        assert "no entry" in read.reasons["utilization_samples"]
        assert read.events == []


class TestGpm:
    def test_older_gpu(self, tmp_path: Path) -> None:
        read = read_scenario(tmp_path, one(gpm={}))
        assert "sm_activity" not in read.rounds[-1]
        assert "not supported" in read.reasons["sm_activity"]

    def test_one_metric_may_be_missing(self, tmp_path: Path) -> None:
        read = read_scenario(tmp_path, one(gpm={"2": 71.5, "3": 33, "10": 48}))
        assert read.rounds[-1]["sm_activity"] == 71.5
        assert "tensor_activity" not in read.rounds[-1]
        assert read.reasons.keys() & METRICS - {"process_utilization"} == {"tensor_activity"}

    @pytest.mark.parametrize(
        "function", ["nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmMetricsGet"]
    )
    @pytest.mark.parametrize("code", [3, 999])
    def test_any_step_may_fail(self, tmp_path: Path, function: str, code: int) -> None:
        read = read_scenario(tmp_path, failing(code, function))
        assert read.rounds[-1].get("sm_activity") is None
        assert read.reasons["sm_activity"]
        assert read.rounds[-1]["utilization"] == 87


class TestProcesses:
    def test_rubbish_of_the_buffer_is_left_out(self, tmp_path: Path) -> None:
        table = [
            BUSY,
            {"pid": 50554, "sm": 37100, "memory": 10},
            {"pid": 50017, "sm": 12, "listed": False},
        ]
        values = read_scenario(tmp_path, one(processes=table)).rounds[-1]
        assert values["processes"] == 2
        assert values["process_utilization"] == 40
        assert {n for n in values if n.endswith("sm_utilization")} == {
            "process/4242/sm_utilization"
        }

    def test_process_without_a_sample_is_not_at_zero(self, tmp_path: Path) -> None:
        read = read_scenario(tmp_path, one(processes=[{"pid": 1, "memory": 10}]))
        assert read.rounds[-1]["process_utilization"] is None
        assert "no entry" in read.reasons["process_utilization"]
        assert "process/1/sm_utilization" not in read.rounds[-1]

    def test_windows_does_not_report_memory(self, tmp_path: Path) -> None:
        read = read_scenario(tmp_path, one(processes=[{"pid": 1, "memory": None}]))
        assert read.rounds[-1]["process/1/memory"] is None
        assert "WDDM" in read.reasons["process/1/memory"]

    @pytest.mark.parametrize("code", [3, 10, 13])
    def test_without_the_list_no_sample_can_be_judged(self, tmp_path: Path, code: int) -> None:
        read = read_scenario(tmp_path, failing(code, PROCESSES))
        values = read.rounds[-1]
        assert {n for n in METRICS if values.get(n) is None} == {"processes", "process_utilization"}
        assert read.reasons.keys() & METRICS == {"processes", "process_utilization"}

    def test_a_process_comes_and_goes(self, tmp_path: Path) -> None:
        table = [BUSY | {"from": 0.5, "until": 1.5}]
        rounds = read_scenario(tmp_path, one(processes=table), 0.0, 0.7, 1.0).rounds
        assert [values["processes"] for values in rounds] == [0, 1, 0]


class TestMig:
    def test_instance_has_memory_and_activity_but_no_utilisation(self, tmp_path: Path) -> None:
        values = {"memory_used": 4096, "power": 200}
        scenario = one(values=values, mig=[instance(), instance("MIG-4", gi=10, ci=1)])
        output = answer(tmp_path, scenario)
        whole, part = ReaderOutput(output, UUIDS[0]), ReaderOutput(output, MIG_UUID)
        assert [device["uuid"] for device in whole.gpus] == [UUIDS[0], MIG_UUID, "MIG-4"]
        assert whole.gpus[0]["mig_enabled"] is True
        place = {"parent_uuid": UUIDS[0], "gpu_instance": 9, "compute_instance": 0}
        assert whole.gpus[1]["mig"] == place
        assert whole.gpus[1]["memory_mib"] == 10240
        assert whole.gpus[1]["compute_capability"] == "9.0"
        assert "not supported" in whole.reasons["utilization"]
        assert "not supported" in part.reasons["utilization"]
        assert part.rounds[-1]["memory_used"] == 512
        assert part.rounds[-1]["sm_activity"] == 71.5
        assert "utilization" not in part.rounds[-1]

    def test_instance_that_cannot_be_used_is_an_event(self, tmp_path: Path) -> None:
        scenario = one(mig=[instance()]) | {
            "errors": [{"function": "nvmlDeviceGetUUID", "device": 1, "code": 4}]
        }
        read = read_scenario(tmp_path, scenario)
        assert [device["uuid"] for device in read.gpus] == [UUIDS[0]]
        assert "cannot be used: Insufficient Permissions" in read.events[0]

    def test_not_split(self, tmp_path: Path) -> None:
        assert read_scenario(tmp_path, one(mig=[])).gpus[0]["mig_enabled"] is False
