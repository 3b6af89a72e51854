"""Records of workers and of search health for the report, from the engine's telemetry."""

from __future__ import annotations

import numpy as np

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.selfplay import SearchHealth, WorkerRecord
from blobdiag.targets.builtin.stacks import hold_records
from engine.selfplay.telemetry import WorkerStatus


def search_health(tally: np.ndarray, trained: bool) -> SearchHealth:
    """The search health of counters `tally` ([], structured dtype `engine.search.lanes.TALLY`)."""
    evaluations, decisions = int(tally["evaluations"]), int(tally["decisions"])
    games = int(tally["games"])
    with_room = int(tally["simulations"] - tally["shallow_ends"])
    missing = [
        name
        for name, count in (
            ("network evaluation", evaluations),
            ("simulation with room to go deeper", with_room),
            ("searched decision", decisions),
            ("finished game", games),
        )
        if not count
    ]
    return SearchHealth(
        distinct_share=int(tally["distinct"]) / evaluations if evaluations else None,
        deep_share=int(tally["deep"]) / with_room if with_room else None,
        mean_kl_nats=float(tally["kl"]) / decisions if decisions else None,
        evaluations_per_game=int(tally["game_evaluations"]) / games if games else None,
        evaluations_per_decision=evaluations / decisions if decisions else None,
        trained_weights=trained,
        reason=f"the window saw no {', no '.join(missing)}" if missing else None,
    )


def worker_record(status: WorkerStatus) -> WorkerRecord:
    """A worker's handshake and last counters, for the report."""
    handshake, tally = status.handshake, status.tally
    return WorkerRecord(
        worker=handshake.worker,
        pid=handshake.pid,
        device_asked=handshake.device_asked,
        parameter_devices=list(handshake.parameter_devices),
        output_device=handshake.output_device,
        device_uuid=handshake.device_uuid,
        dtype=handshake.dtype,
        threads=handshake.threads,
        intra_op_threads=handshake.intra_op_threads,
        weights_hash=handshake.weights_hash,
        state="finished" if status.state == "running" else status.state,
        games=int(tally["games"]),
        evaluations=int(tally["evaluations"]),
        batches=int(tally["batches"]),
        stage_seconds=status.stage_seconds,
        batch_histogram=dict(sorted(status.batches.items())),
        grad_enabled=None if status.modes is None else status.modes.grad_enabled,
        train_mode=None if status.modes is None else status.modes.train_mode,
        deals=status.deals,
        weights_version=handshake.weights_version,
        holds=hold_records(status.holds),
        gpu_memory_mib=status.gpu_memory_mib,
        stacks=status.stacks,
    )
