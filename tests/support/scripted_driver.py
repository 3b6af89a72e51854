"""Builds nvml_driver.c and has it play a scenario under the real binding.

A scenario is JSON:

    {"driver": "575.51.03", "cuda": 12090,
     "devices": [{"uuid": …, "name": …, "bus_id": "00000000:17:00.0", "capability": [9, 0],
                  "memory_total": MiB,
                  "values": {METRIC: number or [[seconds, number], …]},
                  "gpm": {"2": 71.5}, "buffer": seconds a sample (0: empty; absent: not supported),
                  "processes": [{"pid": …, "memory": MiB or null, "sm": %, "from": s, "until": s,
                                 "listed": false}],
                  "mig": [devices, each with "gi" and "ci"]}],
     "errors": [{"function": name or "*", "code": nvmlReturn_t or -signal that it dies of,
                 "device": number, "from": s, "until": s}],
     "missing": [functions the library does not have]}

METRIC is a name of NvmlReader's; without a value it is not supported. Seconds count from the moment
a process loads the library. Devices are numbered as they come, each followed by its instances.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("nvml_driver.c")
LIBRARY = "libnvidia-ml.so.1"
FOREVER = 1e9

NEEDS_DRIVER = [
    pytest.mark.skipif(sys.platform != "linux", reason="builds a Linux shared library"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc to build it with"),
]

UUIDS = (
    "GPU-11111111-aaaa-bbbb-cccc-000000000001",
    "GPU-22222222-aaaa-bbbb-cccc-000000000002",
)
MIG_UUID = "MIG-33333333-aaaa-bbbb-cccc-000000000003"


def gpu(uuid: str = UUIDS[0], **changes: Any) -> dict[str, Any]:
    """A healthy Hopper GPU at 87 %, changed where asked."""
    return {
        "uuid": uuid,
        "name": "NVIDIA Scripted H1",
        "bus_id": "00000000:17:00.0",
        "capability": [9, 0],
        "memory_total": 81920,
        "values": {
            "utilization": 87,
            "memory_utilization": 21,
            "memory_used": 3072,
            "power": 350.5,
            "temperature": 61,
            "sm_clock": 1980,
            "memory_clock": 2619,
            "clocks_event_reasons": 4,
            "energy": [[second, 5_000_000_000 + 350_500 * second] for second in range(60)],
            "pcie_generation": 5,
            "pcie_width": 16,
            "pcie_sent": 12.5,
            "pcie_received": 900,
        },
        "gpm": {"2": 71.5, "3": 33.25, "5": 12, "10": 48},
        "buffer": 0.02,
        "processes": [],
    } | changes


def instance(uuid: str = MIG_UUID, **changes: Any) -> dict[str, Any]:
    """A MIG instance, of which NVML tells the memory and, by GPM, the activity."""
    part = gpu(uuid, name="NVIDIA Scripted H1 MIG 1g.10gb", memory_total=10240, gi=9, ci=0)
    del part["buffer"]
    return part | {"values": {"memory_used": 512}} | changes


def driver(folder: Path, scenario: dict[str, Any]) -> dict[str, str]:
    """Write the scenario into `folder`; the environment in which a process plays it."""
    library = _library(tuple(scenario.get("missing", ())))
    (folder / "scenario.json").write_text(json.dumps(scenario, indent=1))
    script = folder / "scenario.txt"
    script.write_text("\n".join(_statements(json.loads(json.dumps(scenario)))) + "\n")
    return {"LD_LIBRARY_PATH": str(library.parent), "SCRIPTED_NVML": str(script)}


@cache
def _library(missing: tuple[str, ...]) -> Path:
    """Built once for the tests of a process, without the missing functions."""
    folder = Path(tempfile.mkdtemp(prefix="scripted-nvml-"))
    atexit.register(shutil.rmtree, folder)
    symbols, library = folder / "symbols", folder / LIBRARY
    hidden = "".join(f"{name}; " for name in missing)
    symbols.write_text(f"{{ global: nvml*; local: {hidden}*; }};")
    linked = [f"-Wl,-soname,{LIBRARY}", f"-Wl,--version-script={symbols}"]
    command = ["gcc", "-O1", "-shared", "-fPIC", *linked, "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


def _statements(scenario: dict[str, Any]) -> Iterator[str]:
    yield f"driver {scenario.get('driver', '575.51.03')} {scenario.get('cuda', 12090)}"
    number = 0
    for whole in scenario["devices"]:
        parent = number
        split = -1 if "mig" not in whole else int(bool(whole["mig"]))
        yield from _device(whole, number, -1, split)
        for part in whole.get("mig", ()):
            number += 1
            yield from _device(part, number, parent, -1)
        number += 1
    for error in scenario.get("errors", ()):
        yield (
            f"fault {error['function']} {error.get('device', -1)} {error['code']} "
            f"{error.get('from', 0)} {error.get('until', FOREVER)}"
        )


def _device(device: dict[str, Any], number: int, parent: int, split: int) -> Iterator[str]:
    major, minor = device["capability"]
    yield (
        f"device {number} {device['uuid']} {device['bus_id']} {major} {minor} "
        f"{device['memory_total']} {parent} {device.get('gi', 0)} {device.get('ci', 0)} {split} "
        f"{device['name']}"
    )
    for metric, value in device["values"].items():
        steps = value if isinstance(value, list) else [[0, value]]
        yield f"value {number} {metric} " + " ".join(f"{time} {v}" for time, v in steps)
    for metric, value in device.get("gpm", {}).items():
        yield f"gpm {number} {metric} {value}"
    if "buffer" in device:
        yield f"buffer {number} {device['buffer']}"
    for process in device.get("processes", ()):
        memory = process.get("memory")
        yield (
            f"process {number} {process['pid']} {-1 if memory is None else memory} "
            f"{process.get('sm', 0)} {process.get('from', 0)} {process.get('until', FOREVER)} "
            f"{int(process.get('listed', True))}"
        )
