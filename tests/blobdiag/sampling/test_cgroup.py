"""Quota and throttling of a control group, on scripted file trees of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_tree import write

from blobdiag.sampling.cgroup import CpuLimit, Throttling, cgroup_cpu_quota, cpu_limit


class TestQuota:
    def test_v2_strictest_of_the_nested_path(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            proc__self__cgroup="0::/user/job\n",
            sys__fs__cgroup__user__cpu_dot_max="150000 100000\n",
            sys__fs__cgroup__user__job__cpu_dot_max="max 100000\n",
            sys__fs__cgroup__cpu_dot_max="400000 100000\n",
        )
        assert cgroup_cpu_quota(tmp_path) == 1.5

    def test_v2_path_of_the_host_is_not_mounted_in_a_container(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            proc__self__cgroup="0::/kubepods/pod1/abc\n",
            sys__fs__cgroup__cpu_dot_max="250000 100000\n",
        )
        assert cgroup_cpu_quota(tmp_path) == 2.5

    def test_v2_path_outside_the_namespace(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            proc__self__cgroup="0::/../../other\n",
            sys__fs__cgroup__cpu_dot_max="250000 100000\n",
            sys__other__cpu_dot_max="1 100000\n",
        )
        assert cgroup_cpu_quota(tmp_path) == 2.5

    @pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
    def test_v1(self, tmp_path: Path, folder: str) -> None:
        write(tmp_path, proc__self__cgroup="4:cpu,cpuacct:/docker/abc\n3:cpuset:/\n0::/\n")
        group = tmp_path / "sys/fs/cgroup" / folder / "docker/abc"
        write(group, cpu_dot_cfs_quota_us="300000\n", cpu_dot_cfs_period_us="100000\n")
        assert cgroup_cpu_quota(tmp_path) == 3.0

    def test_v1_minus_one_is_no_limit(self, tmp_path: Path) -> None:
        write(tmp_path, proc__self__cgroup="1:cpu:/\n")
        group = tmp_path / "sys/fs/cgroup/cpu"
        write(group, cpu_dot_cfs_quota_us="-1\n", cpu_dot_cfs_period_us="100000\n")
        assert cgroup_cpu_quota(tmp_path) is None

    def test_no_cgroups(self, tmp_path: Path) -> None:
        assert cgroup_cpu_quota(tmp_path) is None


class TestThrottling:
    V2 = "usage_usec 9\nnr_periods 40\nnr_throttled 7\nthrottled_usec 2500000\n"
    V1 = "nr_periods 40\nnr_throttled 7\nthrottled_time 2500000000\n"

    @pytest.mark.parametrize("stat", [V2, V1])
    def test_counts_of_the_group_that_limits(self, tmp_path: Path, stat: str) -> None:
        write(tmp_path, proc__self__cgroup="0::/job\n")
        group = tmp_path / "sys/fs/cgroup/job"
        write(group, cpu_dot_max="150000 100000\n", cpu_dot_stat=stat)
        limit = cpu_limit(tmp_path)
        assert limit is not None
        assert limit.throttling() == Throttling(7.0, 2.5)

    def test_no_limit(self, tmp_path: Path) -> None:
        assert cpu_limit(tmp_path) is None

    @pytest.mark.parametrize("stat", ["", "usage_usec 9\n", "nr_throttled 7\n"])
    def test_not_counted(self, tmp_path: Path, stat: str) -> None:
        (tmp_path / "cpu.stat").write_text(stat)
        assert CpuLimit(1.0, tmp_path / "cpu.stat").throttling() is None
