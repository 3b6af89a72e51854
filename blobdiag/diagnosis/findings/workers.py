"""What a worker got from its parent: its device, its weights, its mode, its cards."""

from __future__ import annotations

from itertools import combinations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.facts import arms, self_play_minutes
from blobdiag.model.judgement import Finding
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord

# Two workers play the same games when half of their deals are the other's. By chance, in the
# smallest game (3 players, 1 card: 2 million deals), even 2 of 4 meet once in 10^11 pairs.
SAME_DEALS_SHARE = 0.5
MIN_DEALS = 4


def device_not_propagated(report: Report) -> Finding | None:
    """Workers' parameters on the CPU while another device was asked for: the bug report's bug."""
    # `compare` has workers that belong on the CPU beside those that do not.
    workers = [w for w in report.workers if w.device_asked != "cpu"]
    lost = [w for w in workers if "cpu" in w.parameter_devices]
    if report.device == "cpu" or not lost:
        return None
    evidence = [f"worker {w.worker} (pid {w.pid}): parameters on cpu, {w.dtype}" for w in lost]
    evidence += [
        f"{c.name}: {c.observation}" for c in report.checks if c.name.endswith("GPU utilisation")
    ]
    return Finding(
        name="device-not-propagated",
        title=(
            f"{len(lost)} of {len(workers)} workers run their network on the CPU, "
            f"not on {report.device}"
        ),
        cause=(
            "The parent moves its network to the device and sends the workers its state dict. "
            "A worker builds a new network, which lies on the CPU, and load_state_dict copies the "
            "weights to where the new network is: the device does not travel with them. "
            "Training stays in the parent, so it uses the GPU and hides the fault."
        ),
        evidence=evidence,
        remedy=(
            "Pass device in the worker's arguments, and after "
            "network.load_state_dict(network_state) add: network.to(device)  "
            "(or build the network on the worker's device from the start)"
        ),
        gain=gains.unknown(
            f"self-play on {report.device} was not measured; "
            "blobdiag compare says what it brings once the workers are there"
        ),
    )


def same_games(report: Report) -> Finding | None:
    """Workers of one arm are dealt the same cards, so their games are copies."""
    evidence, dealt, distinct = [], 0, 0
    for arm in arms(report):
        pairs = [(a, b) for a, b in combinations(arm, 2) if _shared(a, b) >= SAME_DEALS_SHARE]
        if not pairs:
            continue
        evidence += [
            f"workers {a.worker} and {b.worker} (pids {a.pid}, {b.pid}): "
            f"{len(set(a.deals) & set(b.deals))} of their first {min(len(a.deals), len(b.deals))} "
            "deals are the same"
            for a, b in pairs
        ]
        deals = [deal for worker in arm for deal in set(worker.deals)]
        dealt, distinct = dealt + len(deals), distinct + len(set(deals))
    if not evidence:
        return None
    copies = 1 - distinct / dealt
    minutes = self_play_minutes(report)
    return Finding(
        name="same-games",
        title=f"Workers play the same games: {copies:.0%} of the deals are copies",
        cause="Workers draw from generators with one seed, so each deals the cards of the others.",
        evidence=evidence,
        remedy=(
            "Seed each worker apart: np.random.SeedSequence(seed).spawn(workers)[worker], "
            "or draw from (seed, game number)"
        ),
        gain=gains.saved(
            None if minutes is None else minutes * copies,
            "the share of the deals that are copies, of self-play's minutes: time spent on "
            "examples that are already there",
        ),
    )


def _shared(a: WorkerRecord, b: WorkerRecord) -> float:
    """Share of the fewer deals of two workers that are the other's too."""
    one, other = set(a.deals), set(b.deals)
    fewer = min(len(one), len(other))
    return len(one & other) / fewer if a.worker != b.worker and fewer >= MIN_DEALS else 0.0


def stale_weights(report: Report) -> Finding | None:
    """Workers play with other weights than the trainer's newest."""
    if report.weights_hash is None or report.interrupted:
        return None
    workers = [worker for arm in arms(report) for worker in arm]
    stale = [w for w in workers if w.weights_hash != report.weights_hash]
    if not stale:
        return None
    return Finding(
        name="stale-weights",
        title=f"{len(stale)} of {len(workers)} workers play with old weights",
        cause=(
            "The trainer's new weights do not reach the workers: they keep the copy they started "
            "with, so self-play does not get better while the loss goes down."
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


def train_mode_in_self_play(report: Report) -> Finding | None:
    """The network is called with gradients, or in training mode, where it only infers."""
    evidence = []
    for worker in (worker for arm in arms(report) for worker in arm):
        seen = ["gradients are recorded"] if worker.grad_enabled else []
        seen += ["the network is in training mode"] if worker.train_mode else []
        if seen:
            evidence.append(f"worker {worker.worker} (pid {worker.pid}): {' and '.join(seen)}")
    if not evidence:
        return None
    return Finding(
        name="train-mode-in-self-play",
        title=f"{len(evidence)} workers call their network as for training",
        cause=(
            "In training mode dropout stays active, so evaluations are random; with gradients "
            "every evaluation builds a graph that costs time and memory and is thrown away."
        ),
        evidence=evidence,
        remedy="Call network.eval() once, and the network under torch.inference_mode()",
        gain=gains.unknown("the network was not measured without gradients in this run"),
    )
