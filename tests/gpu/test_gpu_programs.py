"""The pool of tests/programs on a GPU, with the bug and without, under `blobdiag run`."""

from __future__ import annotations

from pathlib import Path

import pytest
from watched_runs import python, run

from blobdiag.model.base import Status

pytestmark = pytest.mark.gpu

POOL = python("pool.py", "--device", "cuda", "--games", "2000", "--at-once", "50")


def test_workers_that_lost_the_device_are_found_beside_the_parent_on_the_gpu(
    tmp_path: Path,
) -> None:
    lost = run(tmp_path, POOL, "--judge")
    assert lost.code == 1
    assert lost.device_check.status is Status.FAIL
    assert lost.found == {"device-not-propagated"}
    [finding] = lost.report.findings
    assert any("on cuda:0" in line and "holds a CUDA context" in line for line in finding.evidence)
    parent = next(p for p in lost.processes if p.cuda_initialised)
    assert {"cuda:0"} == {called.parameter_device for called in parent.modules}


def test_the_context_alone_tells_where_nothing_was_asked(tmp_path: Path) -> None:
    silent = [argument.replace("--device", "--dev") for argument in POOL]
    assert "device-not-propagated" in run(tmp_path, silent).found


def test_workers_that_got_the_device_pass(tmp_path: Path) -> None:
    fixed = run(tmp_path, [*POOL, "--fixed"], "--judge")
    assert fixed.device_check.status is Status.PASS
    assert "device-not-propagated" not in fixed.found
    assert all(set(devices) == {"cuda:0"} for devices in fixed.calls().values())
    assert sum(1 for p in fixed.processes if p.cuda_initialised) == 3
