"""Workers that play with older weights than the trainer's."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.facts import arms
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord


def _in_engine(report: Report) -> Seen | None:
    if report.weights_hash is None or report.interrupted:
        return None
    workers = [worker for arm in arms(report) for worker in arm]
    stale = [w for w in workers if w.weights_hash != report.weights_hash]
    if not stale:
        return None
    return Seen(
        title=f"{len(stale)} of {len(workers)} workers play with old weights",
        cause=(
            "The trainer's new weights do not reach the workers: they play with the copy they "
            "started with, so self-play does not get better while the loss goes down."
        ),
        evidence=[
            f"worker {w.worker} (pid {w.pid}): weights {w.weights_hash}{_version(w, report)}, "
            f"the newest are {report.weights_hash}"
            for w in stale
        ],
        remedy=(
            "Send the state dict to every worker after training (engine.update_weights(network)) "
            "and compare a hash of what each has loaded"
        ),
        gain=gains.unknown("it costs playing strength, not time"),
    )


def _version(worker: WorkerRecord, report: Report) -> str:
    if worker.weights_version is None or report.weights_version is None:
        return ""
    return f", replaced {worker.weights_version} of {report.weights_version} times"


CAUSE = Cause(
    name="stale-weights",
    rank=110,
    summary="Workers play with older weights than the trainer's",
    seen_as="a hash of a worker's weights that is not the newest, at the end of the run",
    in_engine=_in_engine,
)
