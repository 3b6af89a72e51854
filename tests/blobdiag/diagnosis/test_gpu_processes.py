"""Whose the processes are that the driver lists."""

from __future__ import annotations

import reports
from blobdiag.diagnosis.gpu_processes import MOST_CONTEXT_MIB, listed, owners
from blobdiag.sampling.trace import Trace

WORKERS = {31: 2000.0, 32: 2000.0, 30: 100.0}
HOST = {4031: 2480.0, 4032: 2481.0, 4030: 581.0}


class TestByPid:
    def test_all_are_ours(self) -> None:
        seen = owners({31: 2480.0, 32: 2480.0}, WORKERS)
        assert (seen.foreign, seen.by_memory) == ([], False)

    def test_others_are_foreign(self) -> None:
        assert owners({31: 2480.0, 99: 10.0, 7: None}, WORKERS).foreign == [7, 99]

    def test_memory_need_not_be_told(self) -> None:
        assert owners({31: None, 99: None}, {31: None}).foreign == [99]

    def test_a_number_that_coincides_is_not_ours(self) -> None:
        """The host's process 30 holds less than our 30 says that it does."""
        seen = owners(HOST | {30: 12.0}, WORKERS)
        assert (seen.foreign, seen.by_memory) == ([30], True)


class TestByMemory:
    def test_all_are_ours(self) -> None:
        seen = owners(HOST, WORKERS)
        assert (seen.foreign, seen.by_memory) == ([], True)

    def test_one_too_many_is_foreign(self) -> None:
        assert owners(HOST | {4099: 9000.0}, WORKERS).foreign == [4099]
        assert len(owners(HOST | {4099: 2490.0}, WORKERS).foreign or ()) == 1

    def test_less_than_ours_or_far_more_is_not_ours(self) -> None:
        for memory in (1999.0, 2001.0 + MOST_CONTEXT_MIB):
            seen = owners({4031: memory}, {31: 2000.0})
            assert seen.foreign is None
            assert seen.reason

    def test_nothing_to_know_them_by(self) -> None:
        for seen in (
            owners(HOST, WORKERS | {33: None}),
            owners(HOST | {4033: None}, WORKERS),
            owners({}, WORKERS),
        ):
            assert seen.foreign is None
            assert seen.reason


def test_listed_within_the_windows_also_of_unknown_memory() -> None:
    trace = Trace(start=0)
    for time, pid, memory in [(1, 5, 10.0), (2, 5, 30.0), (9, 5, 99.0), (2, 6, None), (9, 7, 1.0)]:
        trace.add(f"gpu/GPU-1/process/{pid}/memory", "MiB", time, memory)
        trace.add(f"gpu/GPU-2/process/{pid + 100}/memory", "MiB", time, memory)
    trace.add("gpu/GPU-1/process/8/sm_utilization", "%", 2, 50.0)
    report = reports.of_trace(trace)
    assert listed(report, "GPU-1", [(0, 3)]) == {5: 30.0, 6: None}
    assert listed(report, "GPU-1", []) == {}
