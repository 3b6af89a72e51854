"""The unjudged report of a session, ended or in progress."""

from __future__ import annotations

import os
from collections.abc import Sequence

from blobdiag.measure.session import Session
from blobdiag.model.base import Metric, Stretch
from blobdiag.model.device import Device
from blobdiag.model.gpus import find
from blobdiag.model.machine import Gpu
from blobdiag.model.names import BARE_NETWORK
from blobdiag.model.recorded import EndedEarly
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput, WorkerRecord
from blobdiag.sampling.summary import gpus_listing, ordinals
from blobdiag.targets.builtin.devices import cuda_reason, own_gpu_memory
from blobdiag.targets.builtin.stacks import hold_records
from blobdiag.targets.measured_engine import Arm, Probes


def session_report(session: Session, ended_early: EndedEarly | None = None) -> Report:
    """The report of a session so far; `ended_early` says what ended it early, if anything."""
    gpus = _gpus(session)
    workers = [record for arm in session.arms for record in arm.workers()]
    throughput = [_throughput(session, arm) for arm in session.arms if arm.windows]
    weights_hash, weights_version = session.arms[-1].weights if session.arms else (None, None)
    others = set[int]().union(*(arm.other_pids for arm in session.arms))
    runner = session.runner
    checks_gpu = session.recording.command == "check-gpu"
    bare = [_bare_network(session, one) for one in throughput] if checks_gpu else []
    on_cpu = Device.of(session.device).on_cpu
    pids = {session.pid, *others, *(worker.pid for worker in workers)}
    return session.recording.report(
        gpus=gpus,
        used=_used(session, workers, pids),
        phases=session.trace.to_phases(),
        windows=[window for one in throughput for window in one.windows],
        cpu_pids=pids if on_cpu else None,
        costs=[_watch_cost(session)],
        figures=[*(runner.figures(session.trace) if runner else ()), *bare],
        events=[(e.time, e.kind, e.text) for arm in session.arms for e in arm.events],
        ended_early=ended_early,
        cuda_reason=cuda_reason(),
        failure=session.failure,
        workers=workers,
        other_pids=sorted(others),
        gpu_memory_mib=own_gpu_memory(),
        weights_hash=weights_hash,
        weights_version=weights_version,
        holds=hold_records(session.watch.seconds.copy()),
        answers=session.answers,
        throughput=throughput,
        verification=session.verification,
        training=runner.training_run() if runner else None,
        matches=session.matches(),
        memory=session.engine.memory,
    )


def _throughput(session: Session, arm: Arm) -> Throughput:
    start = session.trace.start
    windows = [Stretch(start_s=begin - start, end_s=end - start) for begin, end in arm.windows]
    probes = session.probes.get(arm.device, Probes([], None))
    return arm.throughput().model_copy(update={"windows": windows, **probes._asdict()})


def _bare_network(session: Session, throughput: Throughput) -> Metric:
    """The best rate of the network alone, all workers at once, in evals/s."""
    rates = [rate.evaluations_per_second for rate in throughput.bare_network]
    best = max(rates, default=None)
    unknown = session.engine.unseen or "it was not measured"
    return Metric(
        name=BARE_NETWORK,
        value=best,
        unit="evals/s",
        samples=0 if best is None else 1,
        reason="the best batch size, without an interval" if best else unknown,
    )


def _gpus(session: Session) -> list[Gpu]:
    """The GPUs with their CUDA ordinals: from the workers, else from the environment."""
    gpus = session.recorder.gpus
    indices = ordinals(gpus, os.environ)
    for record in (w for arm in session.arms for w in arm.workers()):
        output = Device.of(record.output_device)
        if record.device_uuid is not None and output.on_cuda and output.index is not None:
            gpu = find(record.device_uuid, gpus)
            if gpu is not None:
                indices[gpu.uuid] = output.index
    return [gpu.model_copy(update={"cuda_index": indices.get(gpu.uuid)}) for gpu in gpus]


def _used(session: Session, workers: Sequence[WorkerRecord], pids: set[int]) -> list[str]:
    """UUIDs of the GPUs in use: as the workers report, else as the driver lists, else all."""
    gpus = session.recorder.gpus
    said = [find(worker.device_uuid, gpus) for worker in workers if worker.device_uuid]
    if said:
        return [gpu.uuid for gpu in gpus if gpu in said]
    return gpus_listing(session.trace, gpus, pids) or [gpu.uuid for gpu in gpus]


def _watch_cost(session: Session) -> Metric:
    """CPU share of the stack watch in the process where it is highest: this one or a worker."""
    seconds = session.recording.seconds
    shares = [session.watch.cpu_seconds / seconds]
    shares += [share for arm in session.arms for share in arm.watch_shares()]
    return Metric(
        name="stack watch's own CPU",
        value=100 * max(shares),
        unit="% of a core",
        samples=len(shares),
    )
