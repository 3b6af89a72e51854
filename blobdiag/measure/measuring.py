"""Run a measurement; whatever ends it, report what was measured until then."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable

from blobdiag.measure.interrupts import (
    SIGINT_EXIT,
    SIGTERM_EXIT,
    Terminated,
    TimedOut,
    sigterm_raises,
    time_limit,
)
from blobdiag.measure.session import Session
from blobdiag.measure.session_report import session_report
from blobdiag.model.errors import UserError
from blobdiag.model.recorded import EndedEarly
from blobdiag.model.report import Report
from blobdiag.model.report_files import mask_text


def measured(
    session: Session, measure: Callable[[Session], None], finish: Callable[[Report], int]
) -> int:
    """Run `measure` under a sampler, pass the unjudged report to `finish`, return the exit code.

    Ctrl-C, SIGTERM, the time limit and any exception but UserError end the measurement, and the
    report is still made. SIGINT and SIGTERM are ignored while `finish` runs. Raises UserError for
    bad input.
    """
    ended: EndedEarly | None = None
    with sigterm_raises():
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
        except Terminated:
            ended = EndedEarly(kind="interrupted", by="SIGTERM", exit_code=SIGTERM_EXIT)
        except TimedOut:
            limit = f"--timeout {session.settings.timeout:g}"
            ended = EndedEarly(kind="timed-out", by=limit, exit_code=3)
        except UserError:
            # Another project's engine may be rejected only after it was started.
            session.stop()
            raise
        except Exception as error:
            # For example an absent device, failed workers or an error of CUDA.
            session.failure = mask_text((str(error).splitlines() or [type(error).__name__])[0])
            session.event("failed", mask_text(traceback.format_exc()))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        session.stop()
        if ended is not None:
            session.event(ended.kind, ended.by)
        return finish(session_report(session, ended))
