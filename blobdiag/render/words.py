"""The texts of a report's values, the same in every form.

An unknown value is "–" with its reason, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from blobdiag.model.base import Metric, Status
from blobdiag.model.figures import figure, figure_range
from blobdiag.model.judgement import Gain
from blobdiag.model.plan import Plan
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput, WorkerRecord
from blobdiag.model.training import Match, TrainedIteration, TrainingRun

UNKNOWN = "–"

# Words of its own: an advisory check must not read like a verdict.
ADVISORY_WORDS = {
    Status.PASS: "in range",
    Status.FAIL: "out of range",
    Status.INCONCLUSIVE: "not known",
    Status.NOT_APPLICABLE: "not judged",
}
_SHORT_DTYPE = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def printable(text: str) -> str:
    """A report's text with control characters replaced, except line breaks."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def known(value: float | None, reason: str) -> str:
    """A figure, or why there is none."""
    return f"{UNKNOWN} ({reason})" if value is None else figure(value)


def value(metric: Metric) -> str:
    """A metric's figure without its unit, or why there is none."""
    return known(metric.value, metric.reason or "not known")


def with_unit(metric: Metric) -> str:
    """A metric's figure with its unit, or why there is none."""
    return value(metric) if metric.value is None else f"{value(metric)} {metric.unit}"


def interval(metric: Metric) -> str:
    """A metric's 95 % interval, or why there is none."""
    if metric.interval is not None:
        return figure_range(metric.interval)
    return f"{UNKNOWN} ({metric.reason or 'not known'})"


def count(value: int | None) -> str:
    """An exact count, shortened from a hundred million up."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if value < 100_000_000 else f"{value / 1e6:,.0f}M"


def facts(report: Report) -> str:
    """When, how long, with which exit code and on which machine, if that has a label."""
    label = f" · {report.machine.label}" if report.machine.label else ""
    return f"{report.started_utc} · {report.seconds:.1f} s · exit code {report.exit_code}{label}"


def dtype(worker: WorkerRecord) -> str:
    """'bf16'."""
    return UNKNOWN if worker.dtype is None else _SHORT_DTYPE.get(worker.dtype, worker.dtype)


def threads(worker: WorkerRecord) -> str:
    """Search threads, × intra-op threads where there are several."""
    each = worker.intra_op_threads
    if worker.threads is None or each is None:
        return UNKNOWN
    return str(worker.threads) if each == 1 else f"{worker.threads}×{each}"


def mean_batch(worker: WorkerRecord) -> str:
    """Rows of a worker's batches, on average."""
    return UNKNOWN if worker.mean_batch is None else figure(worker.mean_batch)


def gain(gain: Gain) -> str:
    """The predicted gain of a remedy with its basis, or why it is not known."""
    predicted = []
    if gain.minutes_per_iteration is not None:
        predicted.append(f"{figure(gain.minutes_per_iteration)} min per iteration")
    if gain.self_play_factor is not None:
        predicted.append(f"self-play {figure(gain.self_play_factor)} × as fast")
    return ": ".join([", ".join(predicted), gain.basis] if predicted else [gain.basis])


def plan_summary(plan: Plan) -> str:
    """The days, and what for."""
    return (
        f"{figure(plan.days)} days for {plan.iterations:,} iterations of "
        f"{plan.games_per_iteration:,} games, {figure(plan.minutes_per_iteration)} min each"
    )


def plan_doubt(plan: Plan) -> str:
    """The days' interval, or why there is none."""
    if plan.days_interval:
        days = figure_range(plan.days_interval)
        return f"{days} days by the rates' 95 % intervals, of this run only"
    return f"no interval: {plan.interval_reason or 'not known'}"


def _no_batch(throughput: Throughput) -> str:
    return "not counted" if throughput.games_counted else "no batch was evaluated"


def _bare(throughput: Throughput) -> str:
    """The network alone, by the rows of a batch."""
    rates = [f"{figure(r.evaluations_per_second)} at {r.rows:,}" for r in throughput.bare_network]
    return "\n".join(rates) or f"{UNKNOWN} (not measured)"


def _health(throughput: Throughput, value: float | None, form: str) -> str:
    reason = throughput.search_health.reason or "not recorded"
    return f"{UNKNOWN} ({reason})" if value is None else form.format(value)


THROUGHPUT_ROWS: list[tuple[str, Callable[[Throughput], str]]] = [
    ("games/min", lambda t: value(t.games_per_minute)),
    ("  95 % interval", lambda t: interval(t.games_per_minute)),
    ("evals/s", lambda t: value(t.evaluations_per_second)),
    ("  95 % interval", lambda t: interval(t.evaluations_per_second)),
    ("mean batch", lambda t: known(t.mean_batch, _no_batch(t))),
    ("bare network, evals/s", _bare),
    ("workers × threads", lambda t: f"{count(t.workers)} × {count(t.threads)}"),
    ("lanes", lambda t: count(t.lanes)),
    ("games finished", lambda t: f"{t.games:,} in {t.window_seconds:.1f} s"),
    ("warm-up before", lambda t: f"{t.warm_up_seconds:.1f} s"),
    ("distinct evaluations", lambda t: _health(t, t.search_health.distinct_share, "{:.3f}")),
    ("simulations > 1 move deep", lambda t: _health(t, t.search_health.deep_share, "{:.3f}")),
    ("KL from uniform, nats", lambda t: _health(t, t.search_health.mean_kl_nats, "{:.3f}")),
    ("evals/game", lambda t: _health(t, t.search_health.evaluations_per_game, "{:,.1f}")),
    ("evals/decision", lambda t: _health(t, t.search_health.evaluations_per_decision, "{:,.1f}")),
]
"""Rows of a throughput: a name, and the text of its value."""


TRAINING_COLUMNS: list[tuple[str, Callable[[TrainedIteration], str]]] = [
    ("#", lambda one: str(one.iteration)),
    ("games", lambda one: count(one.games)),
    ("self-play s", lambda one: f"{one.self_play_seconds:,.1f}"),
    ("examples", lambda one: count(one.examples)),
    ("training s", lambda one: f"{one.training_seconds:,.1f}"),
    ("steps", lambda one: count(one.steps)),
    ("policy loss", lambda one: UNKNOWN if one.policy_loss is None else f"{one.policy_loss:.3f}"),
    ("value loss", lambda one: UNKNOWN if one.value_loss is None else f"{one.value_loss:.3f}"),
    ("age", lambda one: f"{one.mean_age:.1f}"),
    ("uses", lambda one: f"{one.mean_uses:.1f}"),
]
"""Of an iteration; age and uses are means over the examples that training drew from."""


MATCH_COLUMNS: list[tuple[str, Callable[[Match], str]]] = [
    ("player", lambda one: one.player),
    ("against", lambda one: one.opponent),
    ("ahead", lambda one: signed(one.difference)),
    ("interval", lambda one: interval(one.difference)),
    ("exact", lambda one: f"{100 * one.exact_bids:.0f} %"),
    ("theirs", lambda one: f"{100 * one.opponents_exact_bids:.0f} %"),
    ("deals", lambda one: count(one.deals)),
    ("s", lambda one: UNKNOWN if one.seconds is None else f"{one.seconds:.1f}"),
]
MATCH_WORDS = 2
"""The first columns are words, the rest figures."""
MATCHES_TITLE = "Matches: points a deal ahead, 95 % interval, and bids made exactly"


def signed(metric: Metric) -> str:
    """'+0.52'."""
    return UNKNOWN if metric.value is None else f"{metric.value:+.2f}"


def margin(metric: Metric) -> str:
    """'+0.52 ± 0.17'."""
    if metric.interval is None:
        return signed(metric)
    return f"{signed(metric)} ± {(metric.interval.high - metric.interval.low) / 2:.2f}"


def training_title(run: TrainingRun) -> str:
    """Finished of all iterations."""
    before = f", {run.taken_up_at:,} of them before this run" if run.taken_up_at else ""
    return f"Training: {len(run.iterations):,} of {run.wanted:,} iterations{before}"


def staleness(run: TrainingRun) -> list[str]:
    """Age of the weights that games were played with; age and uses of the examples."""
    games: Counter[int] = Counter()
    for one in run.iterations:
        games.update(one.weights_ages)
    rows = [
        ("weights behind when a game ended, iterations", games, "games"),
        ("examples of the last training, iterations old", run.examples_by_age, "examples"),
        ("examples of the last training, times trained on", run.examples_by_uses, "examples"),
    ]
    return [
        f"{what}: {_spread(counts, unit)}" if counts else f"{what}: not known (no training ended)"
        for what, counts, unit in rows
    ]


def _spread(counts: Mapping[int, int], unit: str) -> str:
    """'mean 1.5, 0 to 3, of 1,500 games'."""
    total = sum(counts.values())
    mean = sum(value * many for value, many in counts.items()) / total
    return f"mean {figure(mean)}, {min(counts)} to {max(counts)}, of {count(total)} {unit}"


def environment(report: Report) -> list[tuple[str, str]]:
    """(name, words) of the machine, its GPUs, the software and the settings."""
    machine, software = report.machine, report.software
    cores = f"{machine.cores_usable} of {machine.cores_total} cores usable"
    if machine.cgroup_cpu_quota is not None:
        cores += f" (cgroup quota {machine.cgroup_cpu_quota:g})"
    where = f" in {machine.container}" if machine.container else ""
    rows = [
        ("system", machine.platform + where),
        ("cpu", f"{machine.cpu}, {cores}, {machine.memory_gib:.1f} GiB"),
    ]
    for gpu in report.gpus:
        memory = UNKNOWN if gpu.memory_mib is None else f"{gpu.memory_mib:,.0f} MiB"
        rows.append(("gpu", f"{gpu.name}, {memory}, {gpu.uuid}"))
    if not report.gpus:
        rows.append(("gpu", f"{UNKNOWN} ({report.gpu_reason or 'none was looked for'})"))
    cuda = software.torch_cuda or "none, a CPU build"
    rows += [
        ("driver", software.driver or f"{UNKNOWN} (no driver was asked)"),
        (
            "software",
            f"blobdiag {software.blobdiag}, Python {software.python}, "
            f"torch {software.torch} (CUDA {cuda}), "
            f"numpy {software.numpy}, numba {software.numba}",
        ),
    ]
    if software.git_commit:
        rows.append(("commit", software.git_commit))
    if report.configuration:
        settings = (
            f"{name}={UNKNOWN if value is None else value}"
            for name, value in report.configuration.items()
        )
        rows.append(("settings", "  ".join(settings)))
    return rows
