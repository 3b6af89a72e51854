"""The host reader on real processes, and what the machine is said to be on scripted file trees."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blobdiag.model import names
from blobdiag.sampling import host
from blobdiag.sampling.cgroup import CpuLimit, Throttling, cgroup_cpu_quota, cpu_limit
from blobdiag.sampling.host import HostReader, container, usable_cores
from blobdiag.sampling.source import Tier


def write(root: Path, **files: str) -> Path:
    """Make files; their paths are given with `__` for `/` and `_dot_` for `.`."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def read(reader: HostReader, tier: Tier) -> dict[str, float | None]:
    return {reading.name: reading.value for reading in reader.read(tier)}


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that computes on one core until its input closes."""
    code = (
        "import sys,threading\n"
        "threading.Thread(target=sys.stdin.read).start()\n"
        "ended=lambda: threading.active_count() < 2\n"
        "print('up', flush=True)\n"
        "while not ended(): sum(range(1000))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


class TestReader:
    def test_load_of_a_process_is_in_percent_of_one_core(
        self, child: subprocess.Popen[bytes]
    ) -> None:
        reader = HostReader()
        reader.watch([child.pid])
        before = psutil.Process(child.pid).cpu_times().user
        start = time.monotonic()
        time.sleep(0.3)
        values = read(reader, Tier.HOST)
        seconds = time.monotonic() - start
        used = psutil.Process(child.pid).cpu_times().user - before
        # As busy as its own clock says, which other load on this machine may make less than 100.
        assert values[names.process(child.pid, "cpu")] == pytest.approx(
            100 * used / seconds, abs=25
        )
        assert values[names.process(child.pid, "cpu")] > 5
        assert values[names.process(child.pid, "threads")] == 2
        rss = psutil.Process(child.pid).memory_info().rss / 2**20
        assert values[names.process(child.pid, "rss")] == pytest.approx(rss, rel=0.2)
        assert 0 < (values[names.HOST_CPU] or 0) <= 100

    def test_first_meaningless_zero_of_psutil_is_not_recorded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter([0.0, 37.5])
        monkeypatch.setattr(psutil, "cpu_percent", lambda: next(answers))
        monkeypatch.setattr(psutil.Process, "cpu_percent", lambda self: next(process_answers))
        process_answers = iter([0.0, 88.0])
        reader = HostReader()
        reader.watch([os.getpid()])
        values = read(reader, Tier.HOST)
        assert values[names.HOST_CPU] == 37.5
        assert values[names.process(os.getpid(), "cpu")] == 88.0

    def test_process_objects_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = HostReader()
        reader.watch([os.getpid()])
        monkeypatch.setattr(psutil, "Process", None)
        reader.watch([os.getpid()])
        assert names.process(os.getpid(), "rss") in read(reader, Tier.HOST)

    def test_switches_of_all_threads_are_counted(self) -> None:
        reader = HostReader()
        reader.watch([os.getpid()])
        name = names.process(os.getpid(), "voluntary_switches")
        before = read(reader, Tier.SLOW)[name] or 0.0
        done = threading.Event()

        def sleepy() -> None:
            for _ in range(50):
                time.sleep(0.001)
            done.wait()

        thread = threading.Thread(target=sleepy)
        thread.start()
        time.sleep(0.1)
        after = read(reader, Tier.SLOW)
        done.set()
        thread.join()
        assert (after[name] or 0.0) >= before + 40
        assert (after[names.process(os.getpid(), "involuntary_switches")] or 0.0) >= 0

    def test_vanished_process_is_an_event(self, child: subprocess.Popen[bytes]) -> None:
        reader = HostReader()
        reader.watch([child.pid, os.getpid()])
        child.kill()
        child.wait()
        values = read(reader, Tier.HOST)
        assert not any(names.parse(name).pid == child.pid for name in values)
        assert names.process(os.getpid(), "cpu") in values
        assert reader.take_events() == [f"process {child.pid} ended"]
        read(reader, Tier.HOST)
        assert reader.take_events() == []

    @pytest.mark.skipif(os.name != "posix", reason="zombies are POSIX")
    def test_zombie_has_vanished_too(self, child: subprocess.Popen[bytes]) -> None:
        reader = HostReader()
        reader.watch([child.pid])
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(child.pid).memory_info().rss == 0, "it would read as a zero"
        assert read(reader, Tier.HOST).keys() == {names.HOST_CPU}
        assert reader.take_events() == [f"process {child.pid} ended"]

    def test_process_gone_before_it_is_watched(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        reader = HostReader()
        reader.watch([child.pid])
        assert reader.take_events() == [f"process {child.pid} was gone before it could be watched"]

    def test_denied_access_gets_a_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def deny(self: psutil.Process) -> None:
            raise psutil.AccessDenied(self.pid)

        reader = HostReader()
        reader.watch([os.getpid()])
        monkeypatch.setattr(psutil.Process, "num_threads", deny)
        assert read(reader, Tier.HOST).keys() == {names.HOST_CPU}
        assert "access denied" in reader.unsupported[names.process(os.getpid(), "cpu")]


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

    @pytest.mark.parametrize(
        ("affinity", "quota", "cores"), [(16, None, 16), (16, 2.9, 2), (2, 8.0, 2), (4, 0.3, 1)]
    )
    def test_usable_cores(
        self, monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, cores: int
    ) -> None:
        monkeypatch.setattr(host, "affinity", lambda: affinity)
        monkeypatch.setattr(host, "cgroup_cpu_quota", lambda: quota)
        assert usable_cores() == cores

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
    def test_affinity_counts(self) -> None:
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert usable_cores() == 1
        finally:
            os.sched_setaffinity(0, before)


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

    def test_reader_gives_counts_or_a_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series = {names.THROTTLED_PERIODS, names.THROTTLED_SECONDS}
        (tmp_path / "cpu.stat").write_text(self.V2)
        for limit, values in ((CpuLimit(1.5, tmp_path / "cpu.stat"), {7.0, 2.5}), (None, set())):
            monkeypatch.setattr(host, "cpu_limit", lambda limit=limit: limit)
            reader = HostReader()
            seen = read(reader, Tier.SLOW)
            assert {seen[name] for name in series & seen.keys()} == values
            assert series & reader.unsupported.keys() == (set() if values else series)


class TestOtherGpu:
    def test_amd_is_told_from_torchs_files(self, tmp_path: Path) -> None:
        code = "from blobdiag.sampling.host import other_gpu; print(other_gpu())"
        write(tmp_path / "torch", version_dot_py="cuda = None\nhip: str | None = '6.4.43'\n")
        (tmp_path / "torch/__init__.py").write_text("raise SystemExit('imported')")
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        answer = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert answer.stdout.startswith("torch is built for AMD GPUs (ROCm 6.4.43)"), answer.stderr

    def test_apple(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host.platform, "system", lambda: "Darwin")
        monkeypatch.setattr(host.platform, "machine", lambda: "arm64")
        assert "Apple" in (host.other_gpu() or "")

    def test_none_of_these(self) -> None:
        assert host.other_gpu() is None


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


class TestIdentity:
    def test_machine_holds_no_host_name(self) -> None:
        machine = host.machine()
        assert machine.label is None
        assert 1 <= machine.cores_usable <= machine.cores_total
        assert machine.memory_gib == pytest.approx(psutil.virtual_memory().total / 2**30)
        node = os.uname().nodename if hasattr(os, "uname") else ""
        assert not node or node not in machine.model_dump_json()
        assert host.machine("lab").label == "lab"

    def test_software_without_importing_torch(self) -> None:
        code = (
            "import sys\n"
            "from blobdiag.sampling.host import software\n"
            "s = software('575.51')\n"
            "assert not {'torch', 'numba', 'numpy'} & sys.modules.keys()\n"
            "print(s.model_dump_json())\n"
        )
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        import torch

        from blobdiag.model.report import Software

        seen = Software.model_validate_json(answer.stdout)
        assert seen.torch == torch.__version__
        assert seen.torch_cuda == torch.version.cuda
        assert seen.driver == "575.51"

    @pytest.mark.parametrize(
        ("source", "cuda"),
        [
            ("__version__ = '2'\ncuda: Optional[str] = '12.8'\nhip = None\n", "12.8"),
            ("cuda = '13.0'\n", "13.0"),
            ("cuda: Optional[str] = None\n", None),
            ("", None),
        ],
    )
    def test_cuda_version_is_read_from_the_source(self, source: str, cuda: str | None) -> None:
        assert host._assigned("cuda", source) == cuda

    def test_commit_of_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert host.software().git_commit is None
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path)]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
        commit = host.software().git_commit
        assert commit is not None
        assert len(commit) == 40
        monkeypatch.setenv("PATH", "")
        assert host.software().git_commit is None

    def test_slow_git_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def late(*_: object, timeout: float, **__: object) -> None:
            assert timeout <= 2
            raise subprocess.TimeoutExpired("git", timeout)

        monkeypatch.setattr(subprocess, "run", late)
        assert host.software().git_commit is None
