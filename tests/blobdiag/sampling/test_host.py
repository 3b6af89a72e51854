"""The host reader on real processes."""

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
from blobdiag.sampling.cgroup import CpuLimit
from blobdiag.sampling.host import HostReader
from blobdiag.sampling.source import Tier

STAT = "usage_usec 9\nnr_periods 100\nnr_throttled 7\nthrottled_usec 2500000\n"


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

    def test_reader_gives_counts_or_a_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series = {names.THROTTLED_PERIODS, names.THROTTLED_SECONDS}
        (tmp_path / "cpu.stat").write_text(STAT)
        for limit, values in ((CpuLimit(1.5, tmp_path / "cpu.stat"), {7.0, 2.5}), (None, set())):
            monkeypatch.setattr(host, "cpu_limit", lambda limit=limit: limit)
            reader = HostReader()
            seen = read(reader, Tier.SLOW)
            assert {seen[name] for name in series & seen.keys()} == values
            assert series & reader.unsupported.keys() == (set() if values else series)
