"""The recorder with a real sampler in a real process, on scripted sources."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import scripted_sampling as sources
from scripted_nvml import ScriptedNvml
from scripted_sampling import OF_TIER, POWER, UTILIZATION

from blobdiag.model import names
from blobdiag.sampling import recorder as module
from blobdiag.sampling import sampler
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.source import TICK_SECONDS, Tier
from blobdiag.sampling.trace import Trace

SUPPORT = Path(sources.__file__).parent


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Wait for something that happens in another process; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def started(factory: Callable[[], sampler.Source]) -> Recorder:
    recorder = Recorder(Trace(), factory)
    recorder.start()
    return recorder


def sampler_pid(recorder: Recorder) -> int:
    assert recorder._process is not None
    assert recorder._process.pid is not None
    return recorder._process.pid


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody collected counts."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_samples_of_every_tier_arrive_stamped_and_in_order() -> None:
    trace = Trace()
    before = time.monotonic()
    with Recorder(trace, sources.ScriptedSource) as recorder:
        assert recorder.gpus[0].uuid == "GPU-1"
        assert (recorder.gpu_reason, recorder.driver) == (None, "575.51")
        until(lambda: OF_TIER[Tier.PROCESSES] in trace.samples)
        until(lambda: len(trace.samples[OF_TIER[Tier.SLOW]].times) >= 2)
        pid = sampler_pid(recorder)
    after = time.monotonic()
    samples = trace.samples[UTILIZATION]
    # The source counts its readings: none may be lost or doubled on the way.
    assert samples.values == [float(n + 1) for n in range(len(samples.values))]
    assert all(a < b for a, b in pairwise(samples.times))
    assert before < samples.times[0] < samples.times[-1] < after
    seconds = samples.times[-1] - samples.times[0]
    assert len(samples.times) <= seconds / TICK_SECONDS + 2, "never faster than the tick"
    assert len(samples.times) >= 0.5 * seconds / TICK_SECONDS
    counts = [len(trace.samples[OF_TIER[t]].times) for t in (Tier.HOST, Tier.SLOW)]
    assert len(samples.times) > counts[0] > counts[1] > 1
    assert trace.samples[OF_TIER[Tier.SLOW]].values[0] is None
    assert trace.unsupported == {POWER: "not supported"}
    assert [text for _, text in recorder.events] == ["begun"]
    assert recorder.death is None
    assert recorder.latest(UTILIZATION) == samples.values[-1]
    assert recorder.latest("never sampled") is None
    assert gone(pid)


def test_cost_is_published_and_small() -> None:
    trace = Trace()
    recorder = Recorder(trace, sources.scripted_machine)
    assert recorder.cost.share is None
    with recorder:
        recorder.watch([os.getpid()])
        until(lambda: names.SAMPLER_CPU in trace.samples)
    assert recorder.cost.wall_seconds >= 1
    assert recorder.cost.cpu_seconds > 0
    share = recorder.cost.share
    assert share is not None
    assert share == recorder.cost.cpu_seconds / recorder.cost.wall_seconds
    assert share <= 0.02, "the sampler may use 2 % of a core"
    assert 0 < trace.samples[names.SAMPLER_CPU].values[0] <= 2


def test_machine_with_gpu_and_host_in_one_trace() -> None:
    trace = Trace()
    uuid = ScriptedNvml().uuids[0]
    with Recorder(trace, sources.scripted_machine) as recorder:
        recorder.watch([os.getpid()])
        until(lambda: names.process(os.getpid(), "voluntary_switches") in trace.samples)
    assert recorder.latest(names.gpu(uuid, "utilization")) == 93
    assert recorder.latest(names.gpu(uuid, "power")) == 350.5
    assert recorder.latest(names.gpu(uuid, "sm_activity")) == 71.5
    assert (recorder.latest(names.process(os.getpid(), "rss")) or 0) > 1
    assert names.HOST_CPU in trace.samples


def test_watch_reaches_the_source_while_it_runs() -> None:
    with Recorder(Trace(), sources.ScriptedSource) as recorder:
        until(lambda: recorder.latest(UTILIZATION))
        recorder.watch([11])
        until(lambda: recorder.latest(names.process(11, "cpu")))
        recorder.watch([12])
        until(lambda: recorder.latest(names.process(12, "cpu")))


def test_a_recorder_is_for_one_recording() -> None:
    with Recorder(Trace(), sources.ScriptedSource) as recorder, pytest.raises(RuntimeError):
        recorder.start()
    with pytest.raises(RuntimeError, match="started before"):
        recorder.start()


def test_machine_without_driver_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    binding = ScriptedNvml(nvmlInit=pynvml.NVMLError_LibraryNotFound)
    source = sampler.MachineSource(binding)
    assert source.gpus == []
    assert "no NVIDIA driver" in (source.gpu_reason or "")
    assert source.unsupported == {}
    source.close()


class TestIsolation:
    def test_heavy_modules_are_not_imported(self) -> None:
        import torch

        assert torch.__name__ in sys.modules, "the parent has it"
        recorder = started(sources.ModulesSource)
        until(lambda: recorder.events)
        recorder.stop()
        modules = {text for _, text in recorder.events}
        assert "blobdiag.sampling.sampler" in modules
        assert not modules & {"torch", "numba", "numpy", "typer", "rich"}

    def test_parents_main_module_is_not_run_again(self, tmp_path: Path) -> None:
        """Not even without a main guard, which plain spawning would need."""
        script = tmp_path / "unguarded.py"
        script.write_text(
            "print('main runs', flush=True)\n"
            "from blobdiag.sampling.recorder import Recorder\n"
            "from blobdiag.sampling.trace import Trace\n"
            "with Recorder(Trace()) as recorder:\n"
            "    print(recorder.death, flush=True)\n"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        answer = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, env=environment
        )
        assert answer.stdout.split("\n") == ["main runs", "None", ""]
        assert answer.stderr == ""

    @pytest.mark.skipif(os.name != "posix", reason="os.kill only terminates on Windows")
    def test_ctrl_c_is_left_to_the_parent(self) -> None:
        recorder = started(sources.InterruptedOnArrival())
        assert recorder.death is None
        until(lambda: recorder.latest(UTILIZATION))
        recorder.stop()
        assert recorder.death is None
        assert [text for _, text in recorder.events] == ["SIG_IGN"]
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


class TestDeath:
    @pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
    def test_killed_sampler_is_reported_and_never_raises(self) -> None:
        recorder = started(sources.ScriptedSource)
        until(lambda: recorder.latest(UTILIZATION))
        os.kill(sampler_pid(recorder), signal.SIGKILL)
        until(lambda: recorder.death)
        assert recorder.death == "the sampler exited unexpectedly: killed by SIGKILL"
        recorder.watch([1])
        recorder.stop()
        recorder.stop()
        assert recorder.latest(UTILIZATION), "what came before is kept"

    def test_failing_source_is_reported_with_its_error(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        recorder = started(sources.FailingSource)
        until(lambda: recorder.death)
        recorder.stop()
        assert recorder.death == "the sampler failed: OSError: scripted failure"
        assert "Traceback" not in capfd.readouterr().err

    def test_source_that_cannot_start(self) -> None:
        recorder = started(sources.UnstartableSource)
        assert recorder.death == "the sampler failed: RuntimeError: no such machine"
        assert (recorder.gpus, recorder.gpu_reason) == ([], recorder.death)
        recorder.stop()

    def test_start_is_given_up(self) -> None:
        recorder = Recorder(Trace(), sources.SleepyStart)
        start = time.monotonic()
        recorder.start(timeout=0.5)
        assert time.monotonic() - start < 5
        assert recorder.death == "the sampler was not ready within 0.5 s"
        assert recorder.gpu_reason == recorder.death
        recorder.stop()

    @pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
    def test_stop_never_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.4)
        recorder = started(sources.StuckSource)
        pid = sampler_pid(recorder)
        time.sleep(2 * TICK_SECONDS)
        start = time.monotonic()
        recorder.stop()
        assert time.monotonic() - start < 3
        assert gone(pid)
        assert recorder.death == "the sampler did not answer and was killed"
        assert not any(thread.name == "blobdiag samples" for thread in threading.enumerate())

    def test_stop_before_start(self) -> None:
        recorder = Recorder(Trace(), sources.ScriptedSource)
        recorder.stop()
        recorder.watch([1])
        assert recorder.death is None
        assert recorder.gpu_reason

    @pytest.mark.slow
    @pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
    @pytest.mark.parametrize("forked", [False, True])
    def test_sampler_ends_when_its_parent_is_killed(self, forked: bool) -> None:
        """Also when a process forked by the parent lives on with copies of all its pipes."""
        code = (
            "import os, sys, time\n"
            "import scripted_sampling\n"
            "from blobdiag.sampling.recorder import Recorder\n"
            "from blobdiag.sampling.trace import Trace\n"
            "recorder = Recorder(Trace(), scripted_sampling.ScriptedSource)\n"
            "recorder.start()\n"
            f"child = os.fork() if {forked} else -1\n"
            "if child == 0:\n"
            "    time.sleep(60)\n"
            "print(recorder._process.pid, child, flush=True)\n"
            "time.sleep(60)\n"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
        ) as parent:
            assert parent.stdout is not None
            pid, child = map(int, parent.stdout.readline().split())
            try:
                assert not gone(pid)
                parent.kill()
                parent.wait()
                until(lambda: gone(pid), seconds=5)
            finally:
                if child > 0:
                    os.kill(child, signal.SIGKILL)


class TestTurns:
    def test_each_tier_has_its_own_pace(self) -> None:
        turns = [sampler._due(tick - 1, tick) for tick in range(1, 21)]
        counts = {tier: sum(tier in turn for turn in turns) for tier in Tier}
        assert counts == {Tier.FAST: 20, Tier.HOST: 10, Tier.SLOW: 4, Tier.PROCESSES: 2}

    def test_missed_turns_are_taken_once(self) -> None:
        assert sampler._due(3, 47) == list(Tier)
        assert sampler._due(4, 4) == []
        assert sampler._due(10, 13) == [Tier.FAST, Tier.HOST]
