"""Recording of one run: its clock, samples and events, and the report made of them."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from time import monotonic
from typing import Any

from blobdiag.model.base import Metric, Stretch
from blobdiag.model.limits import first_and_last_events
from blobdiag.model.machine import Gpu, Machine, Software
from blobdiag.model.masking import Value
from blobdiag.model.recorded import EndedEarly, Event, Phase
from blobdiag.model.report import Report
from blobdiag.model.report_texts import masked_report
from blobdiag.sampling.machine import machine
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.reduction import activities, cuts, shortest_visible_gap
from blobdiag.sampling.software import software
from blobdiag.sampling.summary import energies, sampler_cost, why_unordered
from blobdiag.sampling.trace import Trace

RecordedEvent = tuple[float, str, str]
"""(monotonic seconds, kind, text) of an event."""


class Recording:
    """The parts of a report that every measurement has."""

    def __init__(
        self,
        command: str,
        device: str,
        configuration: Mapping[str, Value],
        label: str | None,
        trace: Trace,
        recorder: Recorder,
    ) -> None:
        self.command, self.device = command, device
        self.trace, self.recorder = trace, recorder
        self.events: list[RecordedEvent] = []
        self._configuration, self._label = dict(configuration), label
        self._started = datetime.now(UTC)

    def event(self, kind: str, text: str) -> None:
        """Record an event at the current time."""
        self.events.append((monotonic(), kind, text))

    def without_samples(self) -> Recording:
        """The same run, of which nothing was sampled."""
        trace = Trace()
        trace.start = self.trace.start
        bare = copy.copy(self)
        bare.trace, bare.recorder, bare.events = trace, Recorder(trace), list(self.events)
        return bare

    @property
    def seconds(self) -> float:
        """Seconds since the recording began."""
        return monotonic() - self.trace.start

    @cached_property
    def machine(self) -> Machine:
        return machine(self._label)

    @cached_property
    def software(self) -> Software:
        """Complete once the sampler has reported the driver."""
        return software(self.recorder.driver)

    def report(
        self,
        *,
        gpus: Sequence[Gpu],
        used: Sequence[str],
        phases: Sequence[Phase],
        windows: Sequence[Stretch] = (),
        cpu_pids: Collection[int] | None = None,
        costs: Iterable[Metric] = (),
        figures: Iterable[Metric] = (),
        events: Iterable[RecordedEvent] = (),
        ended_early: EndedEarly | None = None,
        running: bool = False,
        cuda_reason: str | None = None,
        **parts: Any,
    ) -> Report:
        """All that is known by now, unjudged, its texts masked.

        `used` holds the UUIDs of the GPUs in use, `cpu_pids` the processes whose idleness counts
        in a run on the CPU, `windows` the measuring windows.
        """
        now, trace, recorder = monotonic(), self.trace, self.recorder
        report = Report(
            command=self.command,
            device=self.device,
            started_utc=self._started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=now - trace.start,
            interrupted=running or ended_early is not None,
            ended_early=ended_early,
            running=running,
            configuration=self._configuration,
            machine=self.machine,
            gpus=list(gpus),
            gpu_reason=recorder.gpu_reason,
            software=self.software.model_copy(update={"cuda_reason": cuda_reason}),
            phases=list(phases),
            series=trace.to_series(cuts(trace, [*phases, *windows])),
            activity=activities(trace, used, cpu_pids, now),
            sampler_death=recorder.death,
            unsupported=trace.unsupported | why_unordered(gpus, os.environ),
            pid=os.getpid(),
            metrics=[
                sampler_cost(recorder),
                *costs,
                *energies(trace, recorder.gpus, used),
                *figures,
            ],
            events=self._events(now, events),
            seconds_shortest_visible_gap=shortest_visible_gap(trace, used),
            **parts,
        )
        return masked_report(report)

    def _events(self, now: float, others: Iterable[RecordedEvent]) -> list[Event]:
        seen = [*self.events, *others]
        seen += [(time, "sampler", text) for time, text in self.recorder.events]
        if self.recorder.death is not None:
            seen.append((now, "sampler", f"the sampler died: {self.recorder.death}"))
        return first_and_last_events(
            [
                Event(at_s=time - self.trace.start, kind=kind, text=text)
                for time, kind, text in sorted(seen)
            ]
        )
