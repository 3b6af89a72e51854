"""The pytest plugin in a real pytest, without a GPU and with one that a scripted driver plays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripted_driver import NEEDS_DRIVER, UUIDS, driver, gpu

BENCHMARK = """
import time
pytest_plugins = ["blobdiag.pytest"]

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

def test_it(gpu_benchmark):
    gpu_benchmark.extra_info["mine"] = 7
    gpu_benchmark.pedantic(WORK, rounds=3)
"""
SPIN, SLEEP = "spin, args=(0.5,)", "time.sleep, args=(0.9,)"


def run(
    folder: Path, work: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(BENCHMARK.replace("WORK", work))
    inherited = {n: v for n, v in os.environ.items() if n != "CUDA_VISIBLE_DEVICES"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def extra_info(folder: Path, work: str, **environment: str) -> dict[str, Any]:
    ended = run(folder, work, "--benchmark-json", "out.json", **environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [benchmark] = json.loads((folder / "out.json").read_text())["benchmarks"]
    assert benchmark["extra_info"].pop("mine") == 7
    return dict(benchmark["extra_info"])


def test_without_a_gpu_its_figures_are_null_and_say_why(tmp_path: Path) -> None:
    info = extra_info(tmp_path, SPIN, LD_LIBRARY_PATH="", CUDA_VISIBLE_DEVICES="")
    cpu = info["cpu_utilisation"]
    assert cpu["reason"] is None
    assert cpu["samples"] >= 2
    # One process spins on one core.
    assert cpu["value"] >= 60 / (os.cpu_count() or 1)
    assert info["device"] is None
    assert info["device_reason"]
    for name, unit in (("gpu_utilisation", "%"), ("gpu_energy", "J")):
        assert info[name] == {
            "value": None,
            "unit": unit,
            "samples": 0,
            "reason": info["device_reason"],
        }


class TestScripted:
    pytestmark = NEEDS_DRIVER

    def test_only_gpus_that_cuda_shows_are_reported(self, tmp_path: Path) -> None:
        """Of two GPUs the second is hidden: its zero is ignored."""
        hidden = gpu(UUIDS[1], bus_id="00000000:65:00.0")
        hidden["values"] = hidden["values"] | {"utilization": 0}
        scripted = driver(tmp_path, {"devices": [gpu(), hidden]})
        info = extra_info(tmp_path, SLEEP, **scripted, CUDA_VISIBLE_DEVICES=UUIDS[0])
        assert (info["device"], info["device_reason"]) == ("NVIDIA Scripted H1", None)
        assert info["gpu_utilisation"]["value"] == 87
        assert info["gpu_utilisation"]["reason"] is None
        # 350.5 J a second, read once a second for 2.7 s.
        assert 350.5 <= info["gpu_energy"]["value"] <= 350.5 * 6


def test_disabled_benchmarks_are_not_sampled(tmp_path: Path) -> None:
    ended = run(tmp_path, SPIN, "--benchmark-disable", "--benchmark-json", "out.json")
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout
