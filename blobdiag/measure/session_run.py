"""Run a measurement; whatever ends it, report what was measured until then."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from blobdiag.measure.interrupts import (
    SIGINT_EXIT,
    Terminated,
    TimedOut,
    ignore_termination,
    termination_raises,
    time_limit,
)
from blobdiag.measure.session import Session
from blobdiag.measure.session_report import session_report
from blobdiag.model.errors import UserError
from blobdiag.model.recorded import EndedEarly
from blobdiag.model.report import Report


def measured(
    session: Session, measure: Callable[[Session], None], finish: Callable[[Report], int]
) -> int:
    """Run `measure` under a sampler, pass the unjudged report to `finish`, return the exit code.

    Raises UserError, for bad input, before anything is measured. Ctrl-C, SIGTERM, SIGHUP and
    workers that fail for good end the measurement, not the report; while `finish` runs they end
    nothing.
    """
    ended: EndedEarly | None = None
    with termination_raises():
        try:
            session.watch.start()
            with session.screen, time_limit(session.settings.timeout):
                with session.phase("sampler start"):
                    session.recorder.start()
                    session.recorder.watch([session.pid])
                session.engine.prepare(session.phase)
                measure(session)
        except KeyboardInterrupt:
            ended = EndedEarly(kind="interrupted", by="SIGINT", exit_code=SIGINT_EXIT)
        except Terminated as end:
            ended = EndedEarly(kind="interrupted", by=end.by, exit_code=end.exit_code)
        except TimedOut:
            limit = f"--timeout {session.settings.timeout:g}"
            ended = EndedEarly(kind="timed-out", by=limit, exit_code=3)
        except UserError:
            # Another project's engine may be rejected only after it was started.
            session.stop()
            raise
        except Exception as error:
            # An absent device, workers that failed for good, whatever CUDA or the system raises:
            # the report says what was measured until then, and why it ended.
            session.failure = (str(error).splitlines() or [type(error).__name__])[0]
            session.event("failed", traceback.format_exc())
        ignore_termination()
        session.stop()
        if ended is not None:
            session.event(ended.kind, ended.by)
        return finish(session_report(session, ended))
