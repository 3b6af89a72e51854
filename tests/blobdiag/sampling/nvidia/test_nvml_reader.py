"""What a driver cannot script: how often it is asked, and when (see test_nvml_driver for it)."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pynvml
import pytest
from scripted_nvml import ScriptedNvml, Turns

from blobdiag.model import names
from blobdiag.sampling.nvidia import errors as nvml_errors
from blobdiag.sampling.nvidia import gpm as module
from blobdiag.sampling.nvidia.nvml_reader import NvmlReader, NvmlUnavailable, open_nvml
from blobdiag.sampling.source import Tier


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
    readings = ((names.parse(reading.name), reading.value) for reading in reader.read(tier))
    return {name.metric: value for name, value in readings if name.gpu == reader.gpus[gpu].uuid}


def reason(reader: NvmlReader, metric: str) -> str | None:
    return reader.unsupported.get(names.gpu(reader.gpus[0].uuid, metric))


def test_handles_are_fetched_once() -> None:
    binding = ScriptedNvml(gpus=3)
    reader = open_nvml(binding)
    for tier in Tier:
        list(reader.read(tier))
    assert binding.calls["nvmlDeviceGetHandleByIndex"] == 3


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


def test_a_gpu_without_handle_is_skipped_and_an_event() -> None:
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


def test_support_may_end_later() -> None:
    turns = Turns([1000, 1000, pynvml.NVMLError_NotSupported])
    reader = open_nvml(ScriptedNvml(nvmlDeviceGetPowerUsage=turns))
    assert read(reader, Tier.SLOW)["power"] == 1.0
    assert "power" not in read(reader, Tier.SLOW)
    assert reason(reader, "power")


class TestGpm:
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
        assert reason(reader, "dram_activity") == "NVML: Timeout, at the last reading"
        assert values["sm_occupancy"] is None, "a NaN is no value"
        assert values["sm_activity"] == 71.5

    def test_close_frees_both_samples(self) -> None:
        binding = ScriptedNvml(nvmlShutdown=pynvml.NVMLError_GpuIsLost)
        open_nvml(binding).close()
        assert binding.calls["nvmlGpmSampleFree"] == 2
        assert binding.calls["nvmlShutdown"] == 1


def test_codes_are_those_of_the_binding() -> None:
    known = {
        value
        for name, value in vars(pynvml).items()
        if name.startswith("NVML_ERROR_") and isinstance(value, int)
    }
    assert nvml_errors.NEVER.keys() | nvml_errors.LOST.keys() <= known
    assert not nvml_errors.NEVER.keys() & nvml_errors.LOST.keys()
    assert nvml_errors.NEVER.keys() >= {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
    }
    assert nvml_errors.LOST.keys() >= {
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
    }
    assert module.METRICS == {
        "sm_activity": pynvml.NVML_GPM_METRIC_SM_UTIL,
        "sm_occupancy": pynvml.NVML_GPM_METRIC_SM_OCCUPANCY,
        "tensor_activity": pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
        "dram_activity": pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
    }
