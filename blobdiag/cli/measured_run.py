"""A measuring command from its settings to its exit code: measure, judge, write, draw."""

from __future__ import annotations

import sys
from collections import Counter

from blobdiag.cli.output_path import report_file
from blobdiag.cli.publish import ReportFile, on_stderr, publish
from blobdiag.diagnosis.judge import judge
from blobdiag.measure.engine_choice import engine_of
from blobdiag.measure.measurement import Measurement
from blobdiag.measure.session import Session
from blobdiag.measure.session_run import measured
from blobdiag.measure.tuned_for import hardware
from blobdiag.model import names
from blobdiag.model.report import Report
from blobdiag.model.settings import Settings
from blobdiag.render.formats import show
from blobdiag.render.live import LiveView, Meter, console_on_stderr
from blobdiag.store.tuned import with_tuned


def run_measurement(measurement: Measurement) -> int:
    """Measure, judge what there is, write and draw the report; the exit code.

    Raises UserError, for bad input, before anything is measured.
    """
    settings = measurement.settings
    engine = engine_of(settings)
    path = report_file(
        measurement.command,
        measurement.device,
        settings.output,
        settings.html,
        settings.reports,
    )
    file = ReportFile(path, numbered=settings.output is None)
    tuned = with_tuned(settings, measurement.device, hardware(measurement.device))
    session = Session(measurement, tuned, engine, _live_view)
    if not settings.quiet:
        on_stderr("".join(f"blobdiag: {note}\n" for note in measurement.notes))
    return measured(
        session, measurement.measure, lambda report: _finish(judge(report), file, settings)
    )


def _finish(report: Report, file: ReportFile, settings: Settings) -> int:
    """With `--format` stdout holds that text alone, and the paths go to stderr."""

    def draw(judged: Report) -> None:
        if settings.format or not settings.quiet:
            show(judged, settings.format)

    say = on_stderr if settings.format else _on_stdout
    return publish(report, file, html=settings.html, show=draw, say=say)


def _on_stdout(text: str) -> None:
    sys.stdout.write(text)


def _live_view(session: Session) -> LiveView:
    return LiveView(
        console_on_stderr(),
        session.settings.quiet,
        lambda: _readings(session),
        lambda: _workers(session),
    )


def _readings(session: Session) -> list[list[Meter]]:
    """A line for each GPU, and one for the CPU."""
    latest, gpus = session.recorder.latest, session.recorder.gpus
    lines = []
    for gpu in gpus:
        name = "GPU" if len(gpus) == 1 else f"GPU {gpu.nvml_index}"
        used, whole = latest(names.gpu(gpu.uuid, "memory_used")), gpu.memory_mib
        memory = Meter(
            "VRAM", used and used / 1024, "GiB", whole / 1024 if whole is not None else None
        )
        lines.append([Meter(name, latest(names.utilization(gpu.uuid)), "%"), memory])
    return [*lines, [Meter("CPU", latest(names.HOST_CPU), "%")]]


def _workers(session: Session) -> str:
    """How many there are, what they do, and how many were lost."""
    states: Counter[str] = session.worker_states
    if not states:
        return ""
    doing = "playing" if any(arm.at_work for arm in session.arms) else "waiting"
    counts = [(states["running"], doing), (states["lost"], "lost")]
    counts += [(states["stalled"], "stalled")] if states["stalled"] else []
    return "workers " + " · ".join(f"{count} {word}" for count, word in counts)
