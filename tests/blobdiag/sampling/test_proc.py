"""The reader of /proc: its parsers on texts of the kernel's, and all of it on a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blobdiag.sampling import proc

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


def test_stat_of_a_name_with_brackets() -> None:
    numbers = b" ".join(str(number).encode() for number in range(4, 53))
    stat = proc.parse_stat(7, b"7 (a) b (c)) S 1 2 3 " + numbers)
    assert (stat.pid, stat.parent_pid, stat.state, stat.alive) == (7, 1, "S", True)
    assert stat.cpu_seconds == (11 + 12) / proc.TICKS_PER_SECOND
    assert (stat.threads, stat.start_ticks) == (17, 19)
    assert stat.rss_mib == 21 * proc.PAGE_BYTES / proc.MIB


def test_texts_that_are_no_unicode_or_empty() -> None:
    assert proc.parse_arguments(b"a\0b c\0\0") == ["a", "b c", ""]
    assert proc.parse_arguments(b"") == []
    assert proc.parse_environment(b"A=1=2\0B=\xff\0\0") == {
        "A": "1=2",
        "B": "\N{REPLACEMENT CHARACTER}",
    }


def test_context_switches_are_the_last_lines() -> None:
    status = b"Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n"
    assert proc.parse_context_switches(status) == (12, 3)
    assert proc.context_switches(2**22 + 1) is None


def test_libraries_by_their_paths() -> None:
    files = ("/venv/torch/lib/libtorch_cpu.so", "/usr/lib/libcuda.so.1", "/x/mytorch.so")
    maps = b"".join(b"7f0 r-xp %s\n" % file.encode() for file in files)
    assert proc.parse_libraries(maps) == ["torch", "cuda"]


def test_cpu_model(tmp_path: Path) -> None:
    assert proc.cpu_model(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert proc.cpu_model(tmp_path) == "Some CPU @ 2 GHz"


def test_a_real_process() -> None:
    environment = {**os.environ, "A_MARK": "here"}
    with subprocess.Popen(["sleep", "30"], env=environment) as child:
        try:
            stat = proc.stat(child.pid)
            assert stat is not None
            assert (stat.parent_pid, stat.threads, stat.alive) == (os.getpid(), 1, True)
            assert child.pid in proc.pids()
            # While it becomes another program it has none for a moment.
            while not (found := proc.environment(child.pid)):
                assert found == {}
            assert found["A_MARK"] == "here"
            assert proc.arguments(child.pid) == ["sleep", "30"]
            assert (proc.libraries(child.pid), proc.holds_driver(child.pid)) == ([], False)
        finally:
            child.kill()
    assert proc.stat(child.pid) is None
    assert proc.holds_driver(child.pid) is None
