"""What the machine is said to be: usable cores, container, no names."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from file_tree import write

from blobdiag.sampling import machine as module
from blobdiag.sampling.machine import container, machine, usable_cores


class TestCores:
    @pytest.mark.parametrize(
        ("affinity", "quota", "cores"), [(16, None, 16), (16, 2.9, 2), (2, 8.0, 2), (4, 0.3, 1)]
    )
    def test_usable_cores(
        self, monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, cores: int
    ) -> None:
        monkeypatch.setattr(module, "affinity", lambda: affinity)
        monkeypatch.setattr(module, "cgroup_cpu_quota", lambda: quota)
        assert usable_cores() == cores

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
    def test_affinity_counts(self) -> None:
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert usable_cores() == 1
        finally:
            os.sched_setaffinity(0, before)


class TestContainer:
    def test_none(self, tmp_path: Path) -> None:
        assert container(tmp_path, {}, "6.1.0-generic") is None

    def test_docker(self, tmp_path: Path) -> None:
        assert container(write(tmp_path, _dot_dockerenv=""), {}, "6.1.0") == "docker"

    def test_docker_by_its_group(self, tmp_path: Path) -> None:
        root = write(tmp_path, proc__self__cgroup="1:cpu:/docker/abc\n")
        assert container(root, {}, "6.1.0") == "docker"

    def test_docker_on_wsl_is_docker(self, tmp_path: Path) -> None:
        root = write(tmp_path, _dot_dockerenv="")
        assert container(root, {}, "5.15.1-microsoft-standard-WSL2") == "docker"

    def test_podman(self, tmp_path: Path) -> None:
        assert container(write(tmp_path, run___dot_containerenv=""), {}, "6.1.0") == "podman"

    def test_kubernetes_before_docker(self, tmp_path: Path) -> None:
        root = write(tmp_path, _dot_dockerenv="")
        assert container(root, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "6.1") == "kubernetes"

    def test_wsl(self, tmp_path: Path) -> None:
        assert container(tmp_path, {}, "5.15.1-Microsoft-standard-WSL2") == "wsl"

    def test_by_variable(self, tmp_path: Path) -> None:
        assert container(tmp_path, {"container": "lxc"}, "6.1.0") == "lxc"


def test_machine_holds_no_host_name() -> None:
    seen = machine()
    assert seen.label is None
    assert 1 <= seen.cores_usable <= seen.cores_total
    assert seen.memory_gib == pytest.approx(psutil.virtual_memory().total / 2**30)
    node = os.uname().nodename if hasattr(os, "uname") else ""
    assert not node or node not in seen.model_dump_json()
    assert machine("lab").label == "lab"
