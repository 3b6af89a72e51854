"""What the measuring commands share: sample, show, survive an interrupt, judge, write, draw."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from blobdiag.cli.output_path import html_path, report_file
from blobdiag.diagnosis import timeline
from blobdiag.diagnosis.causes import find_all
from blobdiag.diagnosis.verdict import verdict
from blobdiag.measure.interrupts import (
    SIGINT_EXIT,
    SIGTERM_EXIT,
    Terminated,
    TimedOut,
    lift_time_limit,
    sigterm_raises,
    time_limit,
)
from blobdiag.model.errors import UserError
from blobdiag.model.limits import kept_events, kept_gaps
from blobdiag.model.report import (
    Check,
    Event,
    Gpu,
    IdleGap,
    Match,
    Metric,
    Plan,
    Report,
    Status,
    Throughput,
    TrainingRun,
    Validity,
    Verification,
)
from blobdiag.model.report_files import (
    ReportError,
    mask,
    mask_text,
    write_new,
    write_report,
)
from blobdiag.model.settings import Settings
from blobdiag.render.formats import show
from blobdiag.render.live import LiveView, Reading, console_on_stderr
from blobdiag.sampling.host import machine, software
from blobdiag.sampling.nvidia.processes import listed
from blobdiag.sampling.nvidia.resolution import shortest_visible_gap
from blobdiag.sampling.nvidia.visible import find
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.summary import energies, ordinals, sampler_cost, why_unordered
from blobdiag.sampling.trace import Span, Trace
from blobdiag.store.tuned import with_tuned
from blobdiag.targets.builtin.arm import hold_records
from blobdiag.targets.builtin.engine import BuiltIn
from blobdiag.targets.external.engine import Foreign
from blobdiag.targets.protocol import Arm, MeasuredEngine, Probes, Progress, Working
from engine.selfplay.stacks import StackWatch


@dataclass
class Judgement:
    """What a command makes of its measurement."""

    headline: str = ""
    """The answer to the command's question, in a sentence."""
    checks: list[Check] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    plan: Plan | None = None
    idle_gaps: list[IdleGap] = field(default_factory=list)
    validity: list[Validity] = field(default_factory=list)


class Cut(NamedTuple):
    """What ended a run before its end."""

    exit_code: int
    kind: str
    """Of its event."""
    text: str
    cause: str


class Session:
    """One run of a measuring command: its trace, its samples, and what it found out so far."""

    def __init__(
        self, command: str, device: str, settings: Settings, engine: MeasuredEngine
    ) -> None:
        self.command, self.device, self.engine = command, device, engine
        self.as_asked = settings
        self.settings = with_tuned(settings, device)
        self.pid = os.getpid()
        self.started = datetime.now(UTC)
        self.trace = Trace()
        self.recorder = Recorder(self.trace)
        self.view = LiveView(
            console_on_stderr(), settings.quiet, self._readings, self._workers_in_words
        )
        self.arms: list[Arm] = []
        self.within = ""
        """What a phase is shown to be part of."""
        self.training: TrainingRun | None = None
        self.probes: dict[str, Probes] = {}
        """By device: what its arm's network does without a search."""
        self.events: list[tuple[float, str, str]] = []
        self.at_work: list[Working] = []
        """Whatever may be at work on the device: while it is, this process holds nothing up."""
        self.watch = StackWatch(self._held)
        self.verification: Verification | None = None
        self.failure: str | None = None
        """Why the measurement ended before its end: no such device, workers that failed, …"""

    # -- while it runs ------------------------------------------------------------------------

    @contextmanager
    def phase(self, name: str, device: str | None = None) -> Iterator[Span]:
        """Mark a phase in the trace and show it."""
        self.view.phase((name if device is None else f"{name} on {device}") + self.within)
        with self.trace.phase(name, device) as span:
            yield span

    def event(self, kind: str, text: str) -> None:
        self.events.append((monotonic(), kind, text))

    @contextmanager
    def time_left(self) -> Iterator[None]:
        """The rest of --timeout holds inside, after an arm's end has lifted it."""
        limit = self.settings.timeout
        spent = monotonic() - self.trace.start
        with time_limit(None if limit is None else max(1e-3, limit - spent)):
            yield

    @contextmanager
    def playing(self, arm: Arm) -> Iterator[Arm]:
        """Start an arm's workers, sample them, and end them whatever happens."""
        self.arms.append(arm)
        self.at_work.append(arm)
        try:
            with self.phase("start-up", arm.device):
                arm.start(self.recorder.watch)
            yield arm
        finally:
            # Also after an interrupt: its phase ends when the workers have.
            lift_time_limit()
            with self.phase("shut-down", arm.device):
                arm.close()

    def _held(self) -> list[tuple[int, str]]:
        """The main thread, and the last phase begun, while nobody is at work on the device."""
        if any(worker.at_work for worker in self.at_work) or not self.trace.spans:
            return []
        return [(threading.main_thread().ident or 0, self.trace.spans[-1].name)]

    def show_games(self, progress: Progress) -> None:
        """A progress callback: games of the phase at hand."""
        self.view.progress(progress.games, progress.wanted, "games")

    def show_steps(self, done: int, wanted: int | None) -> None:
        """A progress callback: training steps."""
        self.view.progress(done, wanted, "steps")

    def show_matches(self, opponent: str, games: int, wanted: int) -> None:
        """A progress callback: games of a match."""
        self.view.progress(games, wanted, "games", against=opponent)

    def show_end(self, seconds: float | None) -> None:
        """How long all of it will still take; None: not known."""
        self.view.ends_at = None if seconds is None else monotonic() + seconds

    def probe(self, arm: Arm) -> None:
        """Measure an arm's network alone, where that can be done."""
        probes = arm.probe(self.phase, self.event)
        if probes is not None:
            self.probes[arm.device] = probes

    def window(self, arm: Arm, seconds: float, games: int) -> None:
        """Measure a window of an arm, shown beside what it must reach."""
        arm.measure(seconds, games, lambda p: self.view.progress(p.games, games, "games", seconds))

    def _readings(self) -> list[list[Reading]]:
        """A line for each GPU, and one for the CPU."""
        latest, gpus = self.recorder.latest, self.recorder.gpus
        lines = []
        for gpu in gpus:
            name = "GPU" if len(gpus) == 1 else f"GPU {gpu.nvml_index}"
            used, whole = latest(f"gpu/{gpu.uuid}/memory_used"), gpu.memory_mib
            memory = Reading(
                "VRAM", used and used / 1024, "GiB", whole / 1024 if whole is not None else None
            )
            lines.append([Reading(name, latest(timeline.utilization(gpu.uuid)), "%"), memory])
        return [*lines, [Reading("CPU", latest(timeline.HOST_CPU), "%")]]

    def _workers_in_words(self) -> str:
        """How many there are, what they do, and how many were lost."""
        states = sum((arm.states for arm in self.arms), Counter[str]())
        if not states:
            return ""
        doing = "playing" if any(arm.at_work for arm in self.arms) else "waiting"
        counts = [(states["running"], doing), (states["lost"], "lost")]
        counts += [(states["stalled"], "stalled")] if states["stalled"] else []
        return "workers " + " · ".join(f"{count} {word}" for count, word in counts)

    def stop(self) -> None:
        """End the sampler and the watch."""
        self.watch.stop()
        self.recorder.stop()

    # -- afterwards ---------------------------------------------------------------------------

    @property
    def pids(self) -> set[int]:
        """This process, and all processes of the arms that there were."""
        workers = {w.pid for arm in self.arms for w in arm.workers()}
        return {self.pid} | workers.union(*(arm.other_pids for arm in self.arms))

    @property
    def gpu_uuids(self) -> list[str]:
        """The GPUs that the workers computed on, by UUID.

        If none said so, those on which the driver lists a process of ours; if it lists none, all.
        """
        gpus = self.recorder.gpus
        told = {w.device_uuid for arm in self.arms for w in arm.workers()} - {None}
        if told:
            used = [find(uuid, gpus) for uuid in told if uuid is not None]
            return [gpu.uuid for gpu in gpus if gpu in used]
        run = [(self.trace.start, monotonic())]
        ours = [gpu.uuid for gpu in gpus if self.pids & listed(self.trace, gpu.uuid, run).keys()]
        return ours or [gpu.uuid for gpu in gpus]

    def report(self, judgement: Judgement, cut: Cut | None) -> Report:
        """Everything the run came to; `cut` is what ended it early, if anything did."""
        status, code, text = verdict(judgement.checks)
        weights_hash, weights_version = self.arms[-1].weights if self.arms else (None, None)
        if self.failure is not None and code == 0:
            status, code = Status.INCONCLUSIVE, 3
            text = "What was measured until then does not make up for the rest."
        if cut is not None:
            status, code = Status.INCONCLUSIVE, cut.exit_code
            text = f"{cut.text} before it could be judged. So far: {text}"
        ended = f"{self.failure}." if self.failure else ""
        text = " ".join(part for part in (ended, judgement.headline, text) if part)
        report = Report(
            command=self.command,
            device=self.device,
            started_utc=self.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=monotonic() - self.trace.start,
            interrupted=cut is not None,
            verdict=status,
            verdict_text=text,
            exit_code=code,
            configuration=mask(self.settings.for_report()),
            machine=machine(self.settings.label),
            gpus=self._gpus(),
            gpu_reason=self.recorder.gpu_reason,
            software=software(self.recorder.driver),
            phases=timeline.phases(self.trace, self.gpu_uuids),
            series=self.trace.to_series(),
            unsupported=self.trace.unsupported | why_unordered(self._gpus(), os.environ),
            pid=self.pid,
            workers=[record for arm in self.arms for record in arm.workers()],
            weights_hash=weights_hash,
            weights_version=weights_version,
            holds=hold_records(self.watch.seconds.copy()),
            throughput=[self._throughput(arm) for arm in self.arms if arm.windows],
            metrics=[
                sampler_cost(self.recorder),
                self._watch_cost(),
                *energies(self.trace, self.recorder.gpus, self.gpu_uuids),
                *judgement.metrics,
            ],
            idle_gaps=kept_gaps(judgement.idle_gaps),
            validity=judgement.validity,
            checks=judgement.checks,
            verification=self.verification,
            training=self.training,
            matches=judgement.matches,
            plan=judgement.plan,
            events=self._events(),
            seconds_shortest_visible_gap=max(
                (g for u in self.gpu_uuids if (g := shortest_visible_gap(self.trace, u))),
                default=None,
            ),
        )
        return report.model_copy(update={"findings": find_all(report)})

    def _throughput(self, arm: Arm) -> Throughput:
        probes = self.probes.get(arm.device, Probes([], None))
        return arm.throughput().model_copy(update=probes._asdict())

    def _gpus(self) -> list[Gpu]:
        """The GPUs with their CUDA ordinals: as the workers say, else as the environment does."""
        gpus = self.recorder.gpus
        indices = ordinals(gpus, os.environ)
        for record in (w for arm in self.arms for w in arm.workers()):
            output = record.output_device or ""
            if record.device_uuid is not None and output.startswith("cuda:"):
                device = find(record.device_uuid, gpus)
                if device is not None:
                    indices[device.uuid] = int(output[5:])
        return [gpu.model_copy(update={"cuda_index": indices.get(gpu.uuid)}) for gpu in gpus]

    def _watch_cost(self) -> Metric:
        """Of the process in which it was highest: this one, or a worker."""
        shares = [self.watch.cpu_seconds / (monotonic() - self.trace.start)]
        shares += [share for arm in self.arms for share in arm.watch_shares()]
        return Metric(
            name="stack watch's own CPU",
            value=100 * max(shares),
            unit="% of a core",
            samples=len(shares),
        )

    def _events(self) -> list[Event]:
        seen = list(self.events)
        seen += [(time, "sampler", text) for time, text in self.recorder.events]
        seen += [(e.time, e.kind, e.text) for arm in self.arms for e in arm.events]
        if self.recorder.death is not None:
            seen.append((monotonic(), "sampler", f"the sampler died: {self.recorder.death}"))
        return kept_events(
            [
                Event(at_s=time - self.trace.start, kind=kind, text=mask_text(text))
                for time, kind, text in sorted(seen)
            ]
        )


def run(
    command: str,
    device: str,
    settings: Settings,
    measure: Callable[[Session], None],
    judge: Callable[[Session], Judgement],
) -> int:
    """Measure under a sampler, judge what there is, write and draw the report; the exit code.

    Raises UserError, for bad input, before anything is measured. Ctrl-C, SIGTERM and workers that
    fail for good end the measurement, not the report.
    """
    engine = BuiltIn(settings) if settings.engine is None else Foreign(settings)
    path = report_file(command, device, settings.output, settings.html, settings.reports)
    session = Session(command, device, settings, engine)
    cut = None
    with sigterm_raises():
        try:
            session.watch.start()
            with session.view, time_limit(settings.timeout):
                with session.phase("sampler start"):
                    session.recorder.start()
                    session.recorder.watch([session.pid])
                engine.prepare(session.phase)
                measure(session)
        except KeyboardInterrupt:
            cut = Cut(SIGINT_EXIT, "interrupted", "Interrupted", "SIGINT")
        except Terminated:
            cut = Cut(SIGTERM_EXIT, "interrupted", "Interrupted", "SIGTERM")
        except TimedOut:
            limit = f"--timeout {settings.timeout:g}"
            cut = Cut(3, "timed-out", f"The time ran out ({limit} s)", limit)
        except UserError:
            # An engine that cannot be had is only known once it has been started.
            session.stop()
            raise
        except Exception as error:
            # An absent device, workers that failed for good, whatever CUDA or the system raises:
            # the report says what was measured until then, and why it ended.
            session.failure = mask_text((str(error).splitlines() or [type(error).__name__])[0])
            session.event("failed", mask_text(traceback.format_exc()))
        # What was measured is written, whatever comes now.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        session.stop()
        if cut is not None:
            session.event(cut.kind, cut.cause)
        return _publish(session.report(judge(session), cut), path, settings)


def _publish(report: Report, path: Path, settings: Settings) -> int:
    """Write the report, print it and where it is; the exit code.

    With `--format` stdout holds that text alone, and the paths go to stderr.
    """
    paths = []
    try:
        paths.append(write_report(report, path, numbered=settings.output is None))
        if settings.html:
            from blobdiag.render.html import page

            paths.insert(0, html_path(paths[0]))
            write_new(paths[0], page(report).encode())
    except ReportError as error:
        # The figures are not lost with the disk: they go to the terminal.
        show(report, settings.format)
        print(f"blobdiag: the report could not be written: {error}", file=sys.stderr)
        return 2
    if settings.format or not settings.quiet:
        show(report, settings.format)
    for written in paths:
        print(written, file=sys.stderr if settings.format else sys.stdout)
    return report.exit_code
