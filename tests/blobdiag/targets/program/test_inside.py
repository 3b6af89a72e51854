"""Counting inside real programs, held against what their networks count themselves."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from blobdiag.model.program import ModuleCalls
from blobdiag.targets.program.environment import INJECTED, environment
from blobdiag.targets.program.records import ProcessCounts, read_records

NETWORK = """
import json, os, signal, sys, threading, weakref
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
        self, folder: Path, *arguments: str, python: str = sys.executable, **changes: str
    ) -> None:
        self.records = folder / "records"
        self.records.mkdir()
        base = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **changes}
        self.done = subprocess.run(
            [python, *arguments],
            env=environment(base, self.records),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.processes, self.marks = read_records(self.records)

    @property
    def output(self) -> Any:
        """The last line of its output."""
        assert self.done.returncode == 0, self.done.stderr
        return json.loads(self.done.stdout.splitlines()[-1])

    def process(self, pid: int) -> ProcessCounts:
        [found] = [counts for counts in self.processes if counts.pid == pid]
        return found


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Run]:
    def run(text: str) -> Run:
        path = tmp_path / "program.py"
        path.write_text(dedent(text))
        return Run(tmp_path, str(path))

    return run


def calls(counts: ProcessCounts, **traits: object) -> list[ModuleCalls]:
    return [
        kind
        for kind in counts.modules
        if all(getattr(kind, name) == value for name, value in traits.items())
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One process after another, threads, and ways to call a network."""
    folder = tmp_path_factory.mktemp("one")
    text = """
    net, output = Net(), {"pid": os.getpid()}
    net(torch.ones(3, 4)); net.eval()
    with torch.no_grad():
        for rows in (1, 2, 3, 64, 65):
            net(torch.ones(rows, 4))
    output["before"] = net.counted

    class Other(Net): ...
    shared = Other()
    def play():
        for _ in range(5000):
            shared(torch.ones(8, 4))
    threads = [threading.Thread(target=play) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    output["shared"] = shared.counted

    class Failing(Net): ...
    failing = Failing()
    for fail in (False, True, True):
        try: failing(torch.ones(2, 4), fail=fail)
        except ValueError: pass
    failing(torch.ones(2, 4))
    output["failing"] = failing.counted

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
    output["recomputed"] = checkpointed.net.counted

    def forked(play):
        child = os.fork()
        if child == 0: play()
        os.waitpid(child, 0)
        return child
    def seven(): return [net(torch.ones(2, 4)) for _ in range(7)]
    output["left"] = forked(lambda: (seven(), os._exit(0)))
    output["killed"] = forked(lambda: (seven(), os.kill(os.getpid(), signal.SIGKILL)))
    replicated = type("Replicated", (Net,), {})()._replicate_for_data_parallel()
    replicated(torch.ones(2, 4))

    class Compiled(Net): ...
    compiled = torch.compile(Compiled(), backend="eager")
    for _ in range(3): compiled(torch.ones(2, 4))
    class Inline(nn.Module):
        def forward(self, x): return 2 * x
    inline = Inline()
    torch.compile(lambda x: inline(x) + 1, backend="eager", fullgraph=True)(torch.ones(3))
    def many():
        def once(): net(torch.ones(2, 4))
        for _ in range(300):
            thread = threading.Thread(target=once); thread.start(); thread.join()
        for number in range(200):
            kind = type(f"Kind{number}", (Shapes,), {})()
            for _ in range(1 + number % 7): kind()
        os._exit(0)
    output["many"] = forked(many)
    mortal = type("Mortal", (Net,), {})()
    mortal(torch.ones(2, 4))
    left = weakref.ref(mortal), weakref.ref(mortal.body[0].weight)
    del mortal
    output["freed"] = [gone() is None for gone in left]
    with torch.autograd.set_detect_anomaly(True):
        class Late(Net): ...
        late = Late(); late(torch.ones(1, 4)); late(torch.ones(1, 4))
        import blobdiag_record; blobdiag_record.refresh()
    print(json.dumps(output))
    """
    path = folder / "program.py"
    path.write_text(NETWORK + dedent(text))
    return Run(folder, str(path))


def test_the_outermost_call_is_counted_and_no_other(one: Run) -> None:
    counts = one.process(one.output["pid"])
    assert not [kind for kind in counts.modules if kind.module.startswith("torch.nn.modules.lin")]
    training, playing = calls(counts, module="__main__.Net")
    assert training.calls + playing.calls == one.output["before"]
    assert (training.train_mode, training.grad_enabled) == (True, True)
    assert (training.calls, training.rows) == (1, 3)
    assert (playing.train_mode, playing.grad_enabled) == (False, False)
    assert (playing.calls, playing.rows) == (5, 135)
    assert playing.batch_histogram == {1: 1, 2: 1, 4: 1, 64: 1, 128: 1}
    places = playing.parameter_device, playing.input_device, playing.dtype
    assert places == ("cpu", "cpu", "float32")


def test_threads_lose_no_call(one: Run) -> None:
    [shared] = calls(one.process(one.output["pid"]), module="__main__.Other")
    assert shared.calls == one.output["shared"] == 10_000
    assert (shared.rows, shared.batch_histogram) == (80_000, {8: 10_000})
    assert shared.threads == 2
    assert shared.intra_op_threads
    assert 10_000 / 16 * 0.9 < shared.timed_calls < 10_000 / 16 * 1.1
    assert 0 < shared.host_seconds < 10


def test_calls_that_raise_are_counted_as_such(one: Run) -> None:
    [failing] = calls(one.process(one.output["pid"]), module="__main__.Failing")
    assert failing.calls == one.output["failing"] == 4
    assert failing.exceptions == 2


def test_rows_of_what_networks_are_given(one: Run) -> None:
    counts = one.process(one.output["pid"])
    given, nothing = calls(counts, module="__main__.Shapes")
    assert (given.input_device, given.parameter_device) == ("cpu", "none")
    assert (given.calls, given.rows) == (6, 1 + 5 + 6 + 9)
    assert given.batch_histogram == {0: 1, 1: 1, 8: 2, 16: 1}
    assert (nothing.input_device, nothing.calls, nothing.rows) == ("none", 1, None)


def test_a_network_that_moves_is_seen_where_it_is(one: Run) -> None:
    moved = calls(one.process(one.output["pid"]), module="__main__.Moved")
    assert [(kind.parameter_device, kind.dtype, kind.calls) for kind in moved] == [
        ("cpu", "float32", 1),
        ("meta", "float32", 1),
        ("meta", "float64", 1),
    ]


def test_wrapped_networks_are_counted_or_named(one: Run) -> None:
    counts = one.process(one.output["pid"])
    counted = {kind.module: kind.calls for kind in counts.modules}
    assert counted["Traced (TopLevelTracedModule)"] == 2
    assert counted["__main__.Net (DataParallel)"] == 1
    assert counted["__main__.Compiled (OptimizedModule)"] == 3
    assert (counted["__main__.Checkpointed"], one.output["recomputed"]) == (1, 2)
    assert "__main__.Inline" not in counted
    assert "__main__.Replicated" not in counted
    assert set(counts.unseen) == {
        "recomputation during backward",
        "replicas of DataParallel",
        "forwards inside functions of torch.compile",
    }


def test_the_state_of_a_process(one: Run) -> None:
    counts = one.process(one.output["pid"])
    assert counts.reason is None
    assert counts.python == platform.python_version()
    assert (counts.torch, counts.cpu_count) == (torch.__version__, os.cpu_count())
    assert (counts.cuda_visible_devices, counts.cuda_initialised) == ("", False)
    assert counts.gpu_memory_mib is None
    assert counts.debug_switches == ["detect_anomaly"]
    assert counts.start_method is None
    assert counts.modules_left_out == 0
    timed = sum(kind.timed_calls for kind in counts.modules)
    assert 0 < counts.own_seconds < 1e-3 * timed, "counting a call takes microseconds"


@pytest.mark.parametrize("child", ["left", "killed"])
def test_a_forked_child_has_counts_of_its_own_however_it_ends(one: Run, child: str) -> None:
    counts = one.process(one.output[child])
    assert counts.start_method == "fork"
    assert [(kind.module, kind.calls) for kind in counts.modules] == [("__main__.Net", 7)]


def test_kinds_past_the_last_row_are_counted_together(one: Run) -> None:
    counts = one.process(one.output["many"])
    made = 300 + sum(1 + number % 7 for number in range(200))
    assert sum(kind.calls for kind in counts.modules) + counts.modules_left_out == made
    assert len(counts.modules) == 128
    assert counts.modules_left_out > 0
    for kind in calls(counts)[1:]:
        assert kind.calls == 1 + int(kind.module.removeprefix("__main__.Kind")) % 7


def test_a_thread_leaves_its_row_to_the_next(one: Run) -> None:
    [net] = calls(one.process(one.output["many"]), module="__main__.Net")
    assert (net.calls, net.rows, net.threads) == (300, 600, 1)


def test_no_network_is_kept_alive(one: Run) -> None:
    assert one.output["freed"] == [True, True]


def test_spawned_and_served_children_and_one_call_in_many(
    program: Callable[..., Run],
) -> None:
    text = """
    import multiprocessing

    class Every(Net): ...

    def play(answers):
        net, every = Net(), Every()
        with torch.no_grad():
            for _ in range(4000):
                net(torch.ones(2, 4)); every(torch.ones(2, 4))
        answers.put((os.getpid(), net.counted))

    if __name__ == "__main__":
        output = {}
        for method in ("forkserver", "spawn"):
            os.environ["BLOBDIAG_COUNT_EVERY"] = "1" if method == "forkserver" else "16"
            context = multiprocessing.get_context(method)
            answers = context.Queue()
            process = context.Process(target=play, args=(answers,))
            process.start(); output[method] = answers.get(); process.join()
        print(json.dumps(output))
    """
    run = program(NETWORK + dedent(text))
    for method, (pid, counted) in run.output.items():
        counts = run.process(pid)
        assert counts.start_method == method
        assert {kind.module for kind in counts.modules} == {"__main__.Net", "__main__.Every"}
        for kind in counts.modules:
            # Of two networks in turn, an even stride would never see one.
            assert kind.calls == pytest.approx(counted, rel=0 if method == "forkserver" else 0.25)
        total = sum(kind.calls for kind in counts.modules)
        assert 2 * counted - 2 * 16 < total <= 2 * counted


def test_another_sitecustomize_runs_too(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text(
        "import sys; sys.path.insert(0, '/added'); sys.theirs = __file__"
    )
    text = """
    import json, sys
    print(json.dumps([sys.theirs, sys.modules["sitecustomize"].__file__, sys.path[1:3]]))
    """
    run = Run(tmp_path, "-c", dedent(text), PYTHONPATH=str(theirs))
    their_file = str(theirs / "sitecustomize.py")
    assert run.output == [their_file, their_file, [str(INJECTED), "/added"]]
    assert len(run.processes) == 1


def test_an_error_in_another_sitecustomize_ends_where_it_did(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise ImportError('of theirs', name='elsewhere')")
    text = "print(1)"
    watched = Run(tmp_path, "-c", text, PYTHONPATH=str(tmp_path)).done
    alone = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (watched.returncode, watched.stdout) == (alone.returncode, alone.stdout)
    assert watched.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1]


@pytest.mark.parametrize("switch", ["-S", "-I"])
def test_a_program_that_cannot_be_reached_is_left_alone(tmp_path: Path, switch: str) -> None:
    run = Run(tmp_path, switch, "-c", "print(1)")
    assert (run.output, run.done.stderr, run.processes) == (1, "", [])


BROKEN = {
    "raises": ("raise ImportError('no libcuda')", None),
    "is hollow": ("__version__ = '0'", "torch was imported, but not to be counted: AttributeError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_torch_stays_what_it_was(tmp_path: Path, kind: str) -> None:
    text, reason = BROKEN[kind]
    (tmp_path / "torch.py").write_text(text)
    attempt = """
    import json, sys
    output = []
    for _ in range(2):
        try: import torch; output.append(torch.__version__)
        except ImportError as error: output.append(str(error))
    print(json.dumps(output))
    """
    run = Run(tmp_path, "-c", dedent(attempt), PYTHONPATH=str(tmp_path))
    assert run.output == (["no libcuda"] * 2 if kind == "raises" else ["0"] * 2)
    [counts] = run.processes
    assert counts.modules == []
    assert (counts.reason or "").startswith(reason or "")
    assert (counts.reason is None) == (reason is None)


@pytest.mark.parametrize("trouble", ["gone", "full"])
def test_without_room_for_records_the_program_runs_on(tmp_path: Path, trouble: str) -> None:
    setup = {
        "gone": "import shutil; shutil.rmtree(os.environ['BLOBDIAG_RECORDS'])",
        "full": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))",
    }[trouble]
    text = f"""
    import os, sys
    {setup}
    child = os.fork()
    if child:
        from blobdiag_marks import phase, progress
        with phase("first"): progress(games=1)
        _, status = os.waitpid(child, 0)
        print(status, flush=True)
    else:
        from blobdiag_marks import phase
        with phase("second"): pass
        os._exit(0)
    """
    run = Run(tmp_path, "-c", dedent(text))
    assert (run.output, run.done.stderr) == (0, "")
    if trouble == "full":
        [counts] = run.processes
        assert counts.progress == {"games": 1.0}


def test_marks_need_nothing_but_the_injected_folder(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    text = """
    import json, os, sys, threading, time
    try: from blobdiag import phase, progress
    except ImportError: from blobdiag_marks import phase, progress
    @phase("decorated")
    def decorated(): progress(games=1, examples=2.5)
    before = time.monotonic()
    with phase("outer"):
        with phase("inner"): decorated()
        thread = threading.Thread(target=decorated); thread.start(); thread.join()
        child = os.fork()
        if child == 0:
            with phase("child"): progress(games=5)
            sys.exit()
        os.waitpid(child, 0)
    phase("endless").__enter__()
    for number in range(40): progress(**{f"name{number}": 1})
    print(json.dumps([os.getpid(), child, before, time.monotonic(), "blobdiag" in sys.modules]))
    """
    bare = str(tmp_path / "bare" / "bin" / "python")
    run = Run(tmp_path, "-c", dedent(text), python=bare, PYTHONPATH="")
    pid, child, before, after, blobdiag_there = run.output
    assert not blobdiag_there
    assert [(mark.name, mark.pid) for mark in run.marks] == [
        ("outer", pid),
        ("inner", pid),
        ("decorated", pid),
        ("decorated", pid),
        ("child", child),
        ("endless", pid),
    ]
    outer, inner, first, second, of_child, endless = run.marks
    assert None not in (outer.end, inner.end, first.end, second.end, of_child.end)
    assert before <= outer.start <= inner.start <= first.start <= first.end <= inner.end
    assert inner.end <= second.start <= of_child.start <= of_child.end <= outer.end <= after
    assert endless.end is None
    parent = run.process(pid).progress
    assert (parent["games"], parent["examples"]) == (2, 5)
    assert sum(amount for name, amount in parent.items() if name.startswith(("n", "o"))) == 40
    assert len(parent) == 32
    assert run.process(child).progress == {"games": 5}
    assert run.process(pid).torch is None


def test_the_form_of_the_readme_works_everywhere(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "run.md").read_text()
    [form] = re.findall(r"```python\n(from contextlib import nullcontext\n.*?)```", page, re.DOTALL)
    unwatched = [sys.executable, "-I", "-S", "-c", form]
    assert subprocess.run(unwatched, capture_output=True, check=True).stderr == b""
    run = Run(tmp_path, "-c", form)
    assert run.done.stderr == ""
    assert [mark.name for mark in run.marks] == ["self-play"]
    assert run.processes[0].progress == {"games": 1}


def test_marks_do_nothing_unwatched_and_cost_next_to_nothing() -> None:
    text = """
    import sys, timeit
    from blobdiag import phase, progress
    def marked():
        with phase("x"): progress(games=1)
    print(min(timeit.repeat(marked, number=1000, repeat=5)) / 1000)
    heavy = {"torch", "pydantic", "numpy", "blobdiag_record"}
    print(heavy & set(sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(text)], capture_output=True, text=True, check=True
    )
    seconds, loaded = done.stdout.splitlines()
    assert loaded == "set()"
    assert float(seconds) < 2e-5
