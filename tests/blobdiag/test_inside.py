"""Counting inside real programs, held against what their networks count themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from blobdiag.reporting.model import ModuleCalls
from blobdiag.watching.injection import environment
from blobdiag.watching.records import Inside, read_marks, read_records

NETWORK = """
import json, os, signal, sys, threading
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))
        self.counted = 0
        self.lock = threading.Lock()

    def forward(self, x, fail=False):
        with self.lock:
            self.counted += 1
        if fail:
            raise ValueError("asked to")
        return self.body(x)
"""


class Run:
    """A program that ran to its end with the counting inside it."""

    def __init__(
        self, folder: Path, *arguments: str, every: int = 1, **changes: str | None
    ) -> None:
        self.records = folder / "records"
        self.records.mkdir()
        base = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **changes}
        given = {name: value for name, value in base.items() if value is not None}
        self.done = subprocess.run(
            [sys.executable, *arguments],
            env=environment(given, self.records, every),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.processes = read_records(self.records)
        self.marks = read_marks(self.records)

    @property
    def said(self) -> Any:
        """The last line of its output."""
        assert self.done.returncode == 0, self.done.stderr
        return json.loads(self.done.stdout.splitlines()[-1])

    def process(self, pid: int) -> Inside:
        [found] = [inside for inside in self.processes if inside.pid == pid]
        return found


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Run]:
    def run(text: str, **options: Any) -> Run:
        path = tmp_path / "program.py"
        path.write_text(dedent(text))
        return Run(tmp_path, str(path), **options)

    return run


def calls(inside: Inside, **traits: object) -> list[ModuleCalls]:
    return [
        kind
        for kind in inside.modules
        if all(getattr(kind, name) == value for name, value in traits.items())
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One process after another, threads, and ways to call a network."""
    folder = tmp_path_factory.mktemp("one")
    text = """
    net, said = Net(), {"pid": os.getpid()}
    net(torch.ones(3, 4)); net.eval()
    with torch.no_grad():
        for rows in (1, 2, 3, 64, 65):
            net(torch.ones(rows, 4))
    said["before"] = net.counted

    class Other(Net): ...
    shared = Other()
    def play():
        for _ in range(5000):
            shared(torch.ones(8, 4))
    threads = [threading.Thread(target=play) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    said["shared"] = shared.counted

    class Failing(Net): ...
    failing = Failing()
    for fail in (False, True, True):
        try: failing(torch.ones(2, 4), fail=fail)
        except ValueError: pass
    failing(torch.ones(2, 4))
    said["failing"] = failing.counted

    class Shapes(nn.Module):
        def forward(self, *args, **kwargs): return None
    shapes = Shapes()
    shapes(torch.ones(256)); shapes(torch.arange(5)); shapes(7, {"x": torch.ones(6, 2)})
    shapes(state=torch.ones(9, 1, 1)); shapes(torch.tensor(1.0)); shapes(); shapes(torch.ones(0, 4))

    class Moved(Net): ...
    moved = Moved(); moved(torch.ones(1, 4)); moved.to("meta")(torch.ones(1, 4, device="meta"))
    moved.to(torch.float64)(torch.ones(1, 4, device="meta", dtype=torch.float64))

    class Traced(Net): ...
    traced = torch.jit.trace(Traced(), torch.ones(2, 4), check_trace=False)
    traced(torch.ones(2, 4)); traced(torch.ones(2, 4))
    nn.DataParallel(Net())(torch.ones(2, 4))

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__(); self.net = Net()
        def forward(self, x):
            from torch.utils.checkpoint import checkpoint
            return checkpoint(self.net, x, use_reentrant=False)
    checkpointed = Checkpointed(); checkpointed(torch.ones(2, 4)).sum().backward()
    said["recomputed"] = checkpointed.net.counted

    def forked(last):
        child = os.fork()
        if child == 0:
            for _ in range(7): net(torch.ones(2, 4))
            last()
        os.waitpid(child, 0)
        return child
    said["left"] = forked(lambda: os._exit(0))
    said["killed"] = forked(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with torch.autograd.set_detect_anomaly(True):
        class Late(Net): ...
        late = Late(); late(torch.ones(1, 4)); late(torch.ones(1, 4))
        import blobdiag_record; blobdiag_record.refresh()
    print(json.dumps(said))
    """
    path = folder / "program.py"
    path.write_text(NETWORK + dedent(text))
    return Run(folder, str(path))


def test_the_outermost_call_is_counted_and_no_other(one: Run) -> None:
    inside = one.process(one.said["pid"])
    assert sum(kind.calls for kind in calls(inside, module="__main__.Net")) == one.said["before"]
    assert not [kind for kind in inside.modules if kind.module.startswith("torch.nn.modules.lin")]
    [training] = calls(inside, module="__main__.Net", train_mode=True)
    assert (training.calls, training.rows, training.grad_enabled) == (1, 3, True)
    [playing] = calls(inside, module="__main__.Net", train_mode=False)
    assert (playing.calls, playing.rows, playing.grad_enabled) == (5, 135, False)
    assert playing.batch_histogram == {1: 1, 2: 1, 4: 1, 64: 1, 128: 1}
    assert (playing.parameter_device, playing.input_device, playing.dtype) == (
        "cpu",
        "cpu",
        "float32",
    )
