"""The NVML reader against a scripted binding that raises the real binding's errors."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pynvml
import pytest
from scripted_nvml import MIB, ScriptedNvml, Turns, process

from blobdiag.sampling import nvml as module
from blobdiag.sampling.nvml import NvmlReader, NvmlUnavailable, open_nvml, throttle_reasons
from blobdiag.sampling.source import Tier

TRANSIENT = [
    pynvml.NVMLError_Timeout,
    pynvml.NVMLError_Unknown,
    pynvml.NVMLError_InUse,
    pynvml.NVMLError_NoData,
    pynvml.NVMLError_IrqIssue,
]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The reader's clock: `clock[0]`, one second further at each look."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(module, "monotonic", tick)
    return now


def read(reader: NvmlReader, tier: Tier, gpu: int = 0) -> dict[str, float | None]:
    prefix = f"gpu/{reader.gpus[gpu].uuid}/"
    return {
        r.name.removeprefix(prefix): r.value for r in reader.read(tier) if r.name.startswith(prefix)
    }


def reason(reader: NvmlReader, metric: str) -> str | None:
    return reader.unsupported.get(f"gpu/{reader.gpus[0].uuid}/{metric}")


def test_every_metric_in_its_unit() -> None:
    reader = open_nvml(ScriptedNvml())
    assert read(reader, Tier.FAST) == {
        "utilization": 93,
        "memory_utilization": 41,
        "memory_used": 3072,
        "sm_activity": 71.5,
        "sm_occupancy": 33.25,
        "tensor_activity": 12,
        "dram_activity": 48,
    }
    assert read(reader, Tier.SLOW) == {
        "power": 350.5,
        "sm_clock": 1980,
        "memory_clock": 2619,
        "temperature": 61,
        "clocks_event_reasons": 4,
        "energy": 123_456_789,
    }
    assert read(reader, Tier.HOST) == {}
    assert reader.unsupported == {}


def test_identity() -> None:
    reader = open_nvml(ScriptedNvml(gpus=2))
    assert [gpu.nvml_index for gpu in reader.gpus] == [0, 1]
    assert len({gpu.uuid for gpu in reader.gpus}) == 2
    assert reader.gpus[1].name == "NVIDIA Scripted"
    assert reader.gpus[1].memory_mib == 81920
    assert reader.gpus[1].compute_capability == "9.0"
    assert (reader.driver, reader.cuda_driver) == ("575.51.03", "12.9")


def test_handles_are_fetched_once() -> None:
    binding = ScriptedNvml(gpus=3)
    reader = open_nvml(binding)
    for tier in Tier:
        list(reader.read(tier))
    assert binding.calls["nvmlDeviceGetHandleByIndex"] == 3


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pynvml.NVMLError_LibraryNotFound, "no NVIDIA driver is visible"),
        (pynvml.NVMLError_DriverNotLoaded, "not loaded"),
        (pynvml.NVMLError_NoPermission, "no permission"),
        (pynvml.NVMLError_LibRmVersionMismatch, "differ in version"),
        (pynvml.NVMLError_Unknown, "Unknown Error"),
    ],
)
def test_no_driver_is_one_line(error: type[Exception], text: str) -> None:
    with pytest.raises(NvmlUnavailable, match=text) as caught:
        open_nvml(ScriptedNvml(nvmlInit=error))
    assert "\n" not in str(caught.value)


def test_real_binding_without_a_driver_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    with pytest.raises(NvmlUnavailable, match="NVML shared library not found"):
        open_nvml()


def test_deprecated_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", ModuleType("pynvml"))
    with pytest.raises(NvmlUnavailable, match="uninstall the deprecated"):
        open_nvml()


def test_no_gpu_shuts_down_again() -> None:
    binding = ScriptedNvml(gpus=0)
    with pytest.raises(NvmlUnavailable, match=r"575\.51\.03 offers no GPU"):
        open_nvml(binding)
    assert binding.calls["nvmlShutdown"] == 1


def test_a_gpu_without_handle_is_skipped_and_told() -> None:
    handles = Turns([pynvml.NVMLError_NoPermission, 1])
    reader = open_nvml(ScriptedNvml(gpus=2, nvmlDeviceGetHandleByIndex=handles))
    assert [gpu.nvml_index for gpu in reader.gpus] == [1]
    assert reader.take_events() == ["GPU 0 cannot be used: Insufficient Permissions"]
    assert reader.take_events() == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pynvml.NVMLError_NotSupported, "not supported"),
        (pynvml.NVMLError_FunctionNotFound, "function not found"),
        (pynvml.NVMLError_NoPermission, "permissions"),
    ],
)
def test_unsupported_is_probed_once_and_never_a_zero(error: type[Exception], text: str) -> None:
    binding = ScriptedNvml(nvmlDeviceGetPowerUsage=error)
    reader = open_nvml(binding)
    for _ in range(3):
        values = read(reader, Tier.SLOW)
    assert "power" not in values
    assert values["temperature"] == 61
    assert text in (reason(reader, "power") or "")
    assert binding.calls["nvmlDeviceGetPowerUsage"] == 1


def test_one_call_for_two_metrics_fails_for_both() -> None:
    binding = ScriptedNvml(nvmlDeviceGetUtilizationRates=pynvml.NVMLError_NotSupported)
    reader = open_nvml(binding)
    assert reason(reader, "utilization")
    assert reason(reader, "memory_utilization")
    assert "utilization" not in read(reader, Tier.FAST)


@pytest.mark.parametrize("error", TRANSIENT)
def test_transient_error_is_none_then_retried(error: type[Exception]) -> None:
    reader = open_nvml(ScriptedNvml(nvmlDeviceGetPowerUsage=Turns([1000, error, error, 2000])))
    assert [read(reader, Tier.SLOW)["power"] for _ in range(3)] == [None, None, 2.0]
    assert reader.unsupported == {}


def test_transient_error_at_the_probe_condemns_nothing() -> None:
    turns = Turns([pynvml.NVMLError_Timeout, 61])
    reader = open_nvml(ScriptedNvml(nvmlDeviceGetTemperature=turns))
    assert read(reader, Tier.SLOW)["temperature"] == 61


def test_support_may_end_later() -> None:
    turns = Turns([1000, 1000, pynvml.NVMLError_NotSupported])
    reader = open_nvml(ScriptedNvml(nvmlDeviceGetPowerUsage=turns))
    assert read(reader, Tier.SLOW)["power"] == 1.0
    assert "power" not in read(reader, Tier.SLOW)
    assert reason(reader, "power")


def test_lost_gpu_is_one_event_and_none_from_then_on() -> None:
    turns = Turns([1000, pynvml.NVMLError_GpuIsLost])
    binding = ScriptedNvml(gpus=2, nvmlDeviceGetPowerUsage=Turns([*[1000] * 2, *turns[1:], 1000]))
    reader = open_nvml(binding)
    assert read(reader, Tier.SLOW)["power"] is None
    calls = binding.calls["nvmlDeviceGetUtilizationRates"]
    fast = read(reader, Tier.FAST)
    assert fast.keys() >= {"utilization", "memory_used"}
    assert set(fast.values()) == {None}
    assert read(reader, Tier.PROCESSES) == {"processes": None}
    assert binding.calls["nvmlDeviceGetUtilizationRates"] == calls + 1, "only the other GPU"
    assert read(reader, Tier.FAST, gpu=1)["utilization"] == 93
    (event,) = reader.take_events()
    assert "GPU is lost" in event
    assert reader.gpus[0].uuid in event
    assert reader.unsupported == {}


class TestGpm:
    def test_unsupported_gpu(self) -> None:
        reader = open_nvml(ScriptedNvml(gpm=False))
        assert read(reader, Tier.FAST).keys() == {
            "utilization",
            "memory_utilization",
            "memory_used",
        }
        assert reason(reader, "sm_activity")

    def test_driver_without_the_symbol(self) -> None:
        missing = pynvml.NVMLError_FunctionNotFound
        reader = open_nvml(ScriptedNvml(nvmlGpmQueryDeviceSupport=missing))
        assert reason(reader, "dram_activity")

    def test_samples_closer_than_100_ms_are_not_taken(
        self, monkeypatch: pytest.MonkeyPatch, clock: list[float]
    ) -> None:
        binding = ScriptedNvml()
        reader = open_nvml(binding)
        monkeypatch.setattr(module, "monotonic", lambda: clock[0] + 0.05)
        assert "sm_activity" not in read(reader, Tier.FAST)
        assert len(binding.taken) == 1
        monkeypatch.setattr(module, "monotonic", lambda: clock[0] + 0.11)
        assert read(reader, Tier.FAST)["sm_activity"] == 71.5

    def test_older_and_newer_sample_alternate(self) -> None:
        binding = ScriptedNvml()
        reader = open_nvml(binding)
        # The binding refuses a pair that is not its last two samples in order.
        assert [read(reader, Tier.FAST)["sm_activity"] for _ in range(3)] == [71.5] * 3
        assert binding.taken == [2, 1, 2, 1]

    def test_failed_sample_starts_a_new_pair(self) -> None:
        binding = ScriptedNvml()
        reader = open_nvml(binding)
        binding.script["nvmlGpmSampleGet"] = pynvml.NVMLError_Timeout
        assert read(reader, Tier.FAST)["sm_activity"] is None
        del binding.script["nvmlGpmSampleGet"]
        assert "sm_activity" not in read(reader, Tier.FAST)
        assert read(reader, Tier.FAST)["sm_activity"] == 71.5

    def test_one_metric_may_fail_alone(self) -> None:
        binding = ScriptedNvml()
        binding.gpm_failures = {5: pynvml.NVML_ERROR_NOT_SUPPORTED, 10: pynvml.NVML_ERROR_TIMEOUT}
        binding.gpm_values[3] = math.nan
        reader = open_nvml(binding)
        values = read(reader, Tier.FAST)
        assert "tensor_activity" not in values
        assert reason(reader, "tensor_activity")
        assert values["dram_activity"] is None
        assert reason(reader, "dram_activity") is None
        assert values["sm_occupancy"] is None, "a NaN is no value"
        assert values["sm_activity"] == 71.5

    def test_close_frees_both_samples(self) -> None:
        binding = ScriptedNvml(nvmlShutdown=pynvml.NVMLError_GpuIsLost)
        open_nvml(binding).close()
        assert binding.calls["nvmlGpmSampleFree"] == 2
        assert binding.calls["nvmlShutdown"] == 1


class TestProcesses:
    def test_memory_of_each(self) -> None:
        running = [process(10, 3072 * MIB), process(11, None)]
        reader = open_nvml(ScriptedNvml(nvmlDeviceGetComputeRunningProcesses=running))
        assert read(reader, Tier.PROCESSES) == {
            "processes": 2,
            "process/10/memory": 3072,
            "process/11/memory": None,
        }
        assert reason(reader, "process/11/memory")
        assert reason(reader, "process/10/memory") is None

    def test_none_running_is_a_measured_zero(self) -> None:
        assert read(open_nvml(ScriptedNvml()), Tier.PROCESSES) == {"processes": 0}

    def test_not_supported(self) -> None:
        error = pynvml.NVMLError_NotSupported
        binding = ScriptedNvml(nvmlDeviceGetComputeRunningProcesses=error)
        reader = open_nvml(binding)
        assert read(reader, Tier.PROCESSES) == {}
        assert reason(reader, "processes")
        assert binding.calls["nvmlDeviceGetComputeRunningProcesses"] == 1

    def test_transient(self) -> None:
        turns = Turns([[], pynvml.NVMLError_InsufficientSize, []])
        reader = open_nvml(ScriptedNvml(nvmlDeviceGetComputeRunningProcesses=turns))
        counts = [read(reader, Tier.PROCESSES)["processes"] for _ in range(2)]
        assert counts == [None, 0]


@pytest.mark.parametrize(
    ("mode", "split"),
    [
        ([1, 1], True),
        ([0, 1], False),
        (pynvml.NVMLError_NotSupported, False),
        (pynvml.NVMLError_Timeout, None),
    ],
)
def test_mig(mode: object, split: bool | None) -> None:
    reader = open_nvml(ScriptedNvml(nvmlDeviceGetMigMode=mode))
    assert reader.mig_enabled(reader.gpus[0].uuid) is split


def test_throttle_reasons_leave_out_idle_and_application_clocks() -> None:
    normal = (
        pynvml.nvmlClocksEventReasonGpuIdle
        | pynvml.nvmlClocksEventReasonApplicationsClocksSetting
        | pynvml.nvmlClocksEventReasonSwPowerCap  # a busy card at its limit
    )
    assert throttle_reasons(normal) == []
    slow = (
        pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
        | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    )
    assert throttle_reasons(float(normal | slow)) == ["thermal slowdown (hardware)", "power brake"]


def test_codes_are_those_of_the_binding() -> None:
    assert module._NEVER.keys() >= {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
    }
    assert module._LOST.keys() == {
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
    }
    assert module._GPM == {
        "sm_activity": pynvml.NVML_GPM_METRIC_SM_UTIL,
        "sm_occupancy": pynvml.NVML_GPM_METRIC_SM_OCCUPANCY,
        "tensor_activity": pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
        "dram_activity": pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
    }
