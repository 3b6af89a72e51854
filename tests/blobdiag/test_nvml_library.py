"""The reader through the real binding and its ctypes, on a small NVML library built here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scripted_nvml

SOURCE = Path(scripted_nvml.__file__).parent / "nvml_stub.c"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="builds a Linux shared library"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc to build it with"),
]

PROGRAM = """
import json, time
from blobdiag.sampling.nvml import NvmlUnavailable, open_nvml
from blobdiag.sampling.source import Tier
try:
    reader = open_nvml()
except NvmlUnavailable as error:
    print(json.dumps({"reason": str(error)}))
    raise SystemExit
rounds = []
for _ in range(2):
    time.sleep(0.11)
    rounds.append({r.name: r.value for tier in Tier for r in reader.read(tier)})
print(json.dumps({
    "gpus": [gpu.model_dump() for gpu in reader.gpus],
    "versions": [reader.driver, reader.cuda_driver],
    "rounds": rounds,
    "unsupported": reader.unsupported,
    "mig": reader.mig_enabled("GPU-stub"),
}))
reader.close()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(target), str(SOURCE)], check=True)
    return folder


def read_with(library: Path, **environment: str) -> dict[str, Any]:
    paths = {"LD_LIBRARY_PATH": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | paths | environment,
    )
    return json.loads(answer.stdout)


def test_what_the_library_says_arrives(library: Path) -> None:
    seen = read_with(library)
    (gpu,) = seen["gpus"]
    assert (gpu["uuid"], gpu["name"], gpu["memory_mib"]) == ("GPU-stub", "Stub", 1000)
    assert gpu["compute_capability"] == "9.0"
    assert seen["versions"] == ["999.01", "12.8"]
    first, second = (
        {name.removeprefix("gpu/GPU-stub/"): value for name, value in round.items()}
        for round in seen["rounds"]
    )
    assert first == {
        "utilization": 87,
        "memory_utilization": 21,
        "memory_used": 250,
        "sm_activity": 12,
        "sm_occupancy": 13,
        "tensor_activity": 15,
        "dram_activity": 20,
        "power": None,
        "clocks_event_reasons": 0x40,
        "energy": 5_000_000_000,
        "processes": 1,
        "process/4242/memory": None,
    }
    assert second == first | {"power": 300}
    reasons = {n.removeprefix("gpu/GPU-stub/"): text for n, text in seen["unsupported"].items()}
    assert reasons.keys() == {"temperature", "sm_clock", "memory_clock", "process/4242/memory"}
    assert "not supported" in reasons["temperature"]
    assert "function not found" in reasons["sm_clock"]
    assert seen["mig"] is None


@pytest.mark.parametrize(("code", "text"), [(9, "driver is not loaded"), (18, "differ in version")])
def test_library_that_does_not_start(library: Path, code: int, text: str) -> None:
    assert text in read_with(library, STUB_INIT=str(code))["reason"]
