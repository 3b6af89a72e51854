"""The report: one versioned pydantic model, the truth from which everything else is drawn.

Seconds are on the run's own clock: 0 is the moment the command started measuring.
`None` means "not known" and always stands beside a reason; 0 always means a measured zero.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Final = 4
"""Raised with every change that old reports do not fit; `migrations.py` then gains a step."""

MOST_POINTS = 2_000
"""Of one series."""


class Status(StrEnum):
    """What a check, or a whole report, came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT APPLICABLE"


class Role(StrEnum):
    """Whether a check decides the exit code or is only shown."""

    DECIDING = "deciding"
    ADVISORY = "advisory"


class Model(BaseModel):
    """Base of every part: unknown fields are an error, non-finite numbers too."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Interval(Model):
    """A 95 % interval, same unit as the value it belongs to."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Metric(Model):
    """One measured figure; where `value`, or only `interval`, is None, `reason` says why."""

    name: str
    value: float | None
    unit: str
    interval: Interval | None = None
    samples: int = 0
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError("a value that is not known needs a reason")
        return self


class Machine(Model):
    """What the run was measured on; no host name, user or path unless `label` was given."""

    label: str | None = None
    platform: str
    cpu: str
    cores_usable: int = Field(description="affinity ∩ cgroup quota, rounded down, at least 1")
    cores_total: int
    cgroup_cpu_quota: float | None = None
    memory_gib: float
    container: str | None = Field(default=None, description="docker, podman, kubernetes, wsl, …")


class MigInstance(Model):
    """Which part of which GPU a MIG instance is."""

    parent_uuid: str
    gpu_instance: int | None = None
    compute_instance: int | None = None


class Gpu(Model):
    """One GPU, or one MIG instance of it, as the driver and torch name it."""

    uuid: str
    name: str
    nvml_index: int | None = None
    cuda_index: int | None = None
    pci_bus_id: str | None = None
    mig_enabled: bool | None = Field(default=None, description="split by MIG; None: not told")
    mig: MigInstance | None = Field(default=None, description="None: it is a whole GPU")
    memory_mib: float | None = None
    compute_capability: str | None = None


class Software(Model):
    """Versions that decide how fast a run is."""

    blobdiag: str
    python: str
    torch: str
    torch_cuda: str | None = Field(description="CUDA version torch was built for, None: CPU build")
    numpy: str
    numba: str
    driver: str | None = None
    git_commit: str | None = None


class Stretch(Model):
    """From one moment of the run to another, the same or a later one."""

    start_s: float
    end_s: float

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start_s > self.end_s:
            raise ValueError(f"starts at {self.start_s:g} s, after its end at {self.end_s:g} s")
        return self

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Phase(Stretch):
    """A named stretch of the run: 'start-up', 'warm-up', 'self-play', 'training', …"""

    name: str
    device: str | None = None
    metrics: list[Metric] = Field(default_factory=list, description="means over the phase")


class Series(Model):
    """One sampled metric over time; columnar, thinned to at most 2,000 points."""

    name: str
    unit: str
    times_s: list[float] = Field(max_length=MOST_POINTS)
    values: list[float | None] = Field(max_length=MOST_POINTS)

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.times_s) != len(self.values):
            raise ValueError(f"{len(self.times_s)} times, but {len(self.values)} values")
        return self


class Hold(Model):
    """A line of Python that a process's threads stood at while its device waited for them."""

    phase: str
    where: str = Field(description="file.py:LINE function")
    seconds: float
    share: float = Field(description="of the process's waiting seconds, 0 to 1")


class WorkerRecord(Model):
    """What one worker process said of itself, at its handshake and at the end.

    Of a worker of another project's engine less is known: what it did not say is None.
    """

    worker: int
    pid: int
    device_asked: str
    parameter_devices: list[str] = Field(description="every device that holds a parameter")
    output_device: str | None
    device_uuid: str | None = None
    dtype: str | None
    threads: int | None
    intra_op_threads: int | None
    weights_hash: str | None
    state: Literal["finished", "lost", "stalled", "refused"] = "finished"
    games: int | None = 0
    evaluations: int | None = 0
    batches: int | None = 0
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    batch_histogram: dict[int, int] = Field(
        default_factory=dict,
        description="rows of a batch, rounded up to a power of two: how many batches",
    )
    serves: bool = Field(
        default=False, description="whether it only evaluates what other workers queue up"
    )
    grad_enabled: bool | None = Field(
        default=None, description="torch.is_grad_enabled() inside a network call of self-play"
    )
    train_mode: bool | None = Field(
        default=None, description="the network's .training inside a network call of self-play"
    )
    deals: list[str] = Field(
        default_factory=list,
        description="hashes of the first cards dealt (at most 32 deals); equal cards, equal hash",
    )
    weights_version: int | None = Field(
        default=None, description="how often this worker's weights were replaced"
    )
    holds: list[Hold] = Field(default_factory=list)
    stacks: str | None = Field(default=None, description="stacks of a stalled worker")
    gpu_memory_mib: float | None = Field(
        default=None, description="torch's own figure: most memory reserved on the worker's device"
    )

    @property
    def mean_batch(self) -> float | None:
        return self.evaluations / self.batches if self.evaluations and self.batches else None


class SearchHealth(Model):
    """Speed alone proves nothing: what the search did with its evaluations (see docs)."""

    distinct_share: float | None = Field(description="(a) distinct (tree, node) ÷ evaluations")
    deep_share: float | None = Field(description="(b) simulations whose leaf is deeper than 1 move")
    mean_kl_nats: float | None = Field(description="(c) mean KL(visits ‖ uniform)")
    evaluations_per_game: float | None = Field(description="(d)")
    evaluations_per_decision: float | None = Field(description="(d)")
    trained_weights: bool = False
    reason: str | None = Field(default=None, description="why any of these is null")


class Block(Model):
    """A slice of the measuring window."""

    seconds: float = Field(gt=0)
    evaluations: int | None = Field(description="None: the engine does not count them")
    games: int


class NetworkRate(Model):
    """The network alone, without a search: all workers of a run at once."""

    rows: int = Field(gt=0, description="rows of each batch")
    evaluations_per_second: float = Field(gt=0)


class PrecisionProbe(Model):
    """What bfloat16 would do on this device: measured, whatever was played with."""

    bfloat16_speedup: float = Field(gt=0, description="float32's seconds a batch ÷ bfloat16's")
    policy_difference: float = Field(description="largest, of a move's probability")
    value_difference: float
    agrees: bool = Field(description="whether both differences are within the stated tolerance")


class Throughput(Model):
    """Self-play speed of one device, over its measuring window."""

    device: str
    dtype: str | None
    workers: int | None
    threads: int | None
    lanes: int | None = Field(description="games in progress at once, all workers together")
    games_per_minute: Metric
    evaluations_per_second: Metric
    mean_batch: float | None
    games: int = Field(description="games that finished inside the window")
    window_seconds: float
    warm_up_seconds: float
    blocks: list[Block]
    games_by_evaluations: dict[int, int] = Field(
        default_factory=dict, description="how many finished games took how many evaluations"
    )
    games_counted: bool = Field(
        default=False,
        description="games/min counts finished games: what each took in evaluations is not known",
    )
    search_health: SearchHealth
    bare_network: list[NetworkRate] = Field(default_factory=list)
    precision: PrecisionProbe | None = None


class Validity(Model):
    """One rule that evidence must satisfy before its result counts."""

    rule: str
    observed: str
    needed: str
    ok: bool


class Check(Model):
    """One expectation held against what was seen."""

    name: str
    role: Role
    status: Status
    expectation: str
    observation: str
    evidence: list[str] = Field(default_factory=list)
    validity: list[Validity] = Field(default_factory=list)
    source: str = Field(description="where the expectation comes from")

    @property
    def valid(self) -> bool:
        return all(rule.ok for rule in self.validity)


class Gain(Model):
    """What a remedy is predicted to bring, and how that was predicted or why it cannot be."""

    minutes_per_iteration: float | None = Field(
        default=None, description="saved in each iteration of the plan"
    )
    self_play_factor: float | None = Field(
        default=None, description="self-play's rate with the remedy ÷ without"
    )
    basis: str


class Finding(Model):
    """A named cause, how it was seen, and what to do about it."""

    name: str
    title: str
    cause: str
    evidence: list[str]
    remedy: str
    gain: Gain | None = Field(default=None, description="None: by a blobdiag that did not predict")


class Verification(Model):
    """A finding's remedy, applied and measured: what was predicted of it, and what it brought."""

    finding: str
    remedy: str = Field(description="what was applied")
    predicted: float | None = Field(description="self-play's rate with it ÷ without; None: not")
    before: Metric
    after: Metric
    realised: Metric = Field(description="after ÷ before")


class ModuleCalls(Model):
    """Outermost forward calls of one kind in one process, counted inside it."""

    module: str = Field(description="the class: package.module.Name")
    parameter_device: str = Field(description="'cpu', 'cuda:0', …; 'none': it has no parameters")
    input_device: str = Field(description="of the first tensor it was given; 'none': no tensor")
    dtype: str = Field(description="of its first parameter; 'none': it has no parameters")
    train_mode: bool
    grad_enabled: bool
    calls: int
    rows: int | None = Field(description="first dimensions summed; None: inputs have none")
    exceptions: int = Field(default=0, description="calls that raised")
    timed_calls: int = Field(default=0, description="calls whose host time was taken")
    host_seconds: float = Field(
        default=0.0, description="of the timed calls, on the host: work on a GPU may go on after"
    )
    batch_histogram: dict[int, int] = Field(
        default_factory=dict,
        description="rows of a call, rounded up to a power of two: how many calls",
    )
    threads: int = Field(
        default=1, description="threads that called it: the most there were at one time"
    )
    intra_op_threads: int | None = Field(
        default=None, description="torch.get_num_threads() in the calling thread"
    )

    @property
    def mean_batch(self) -> float | None:
        return self.rows / self.calls if self.rows and self.calls else None


class ProcessRecord(Model):
    """One process of a watched program: what the system showed of it, and what it said inside."""

    pid: int
    parent_pid: int
    command: str = Field(description="its command line, masked")
    started_s: float
    ended_s: float | None = Field(default=None, description="None: it outlived the run")
    cpu_seconds: float | None = None
    rss_mib: float | None = Field(default=None, description="the most that was seen")
    threads: int | None = Field(default=None, description="of the system, the most that were seen")
    libraries: list[str] = Field(
        default_factory=list, description="of torch, jax, tensorflow, onnxruntime, cuda: mapped"
    )
    driver_opened: bool | None = Field(
        default=None, description="whether it holds NVIDIA's device files; no proof of a context"
    )
    instrumented: bool = Field(default=False, description="whether it was counted from inside")
    reason: str | None = Field(default=None, description="why it was not, or not to its end")
    python: str | None = None
    torch: str | None = None
    start_method: str | None = Field(
        default=None,
        description="how it was begun: fork, spawn, forkserver; None: in none of these ways",
    )
    cuda_visible_devices: str | None = None
    cuda_initialised: bool | None = Field(
        default=None, description="torch.cuda.is_initialized(); None: not told"
    )
    gpu_memory_mib: float | None = Field(
        default=None, description="torch's own figure: most memory reserved on any one device"
    )
    cpu_count: int | None = Field(default=None, description="os.cpu_count() as it sees it")
    debug_switches: list[str] = Field(
        default_factory=list, description="left on: detect_anomaly, CUDA_LAUNCH_BLOCKING, …"
    )
    unseen: list[str] = Field(
        default_factory=list,
        description="ways of calling a network that were in use and are not counted: dynamo, …",
    )
    modules: list[ModuleCalls] = Field(default_factory=list)
    modules_left_out: int = Field(default=0, description="calls of kinds that found no room")
    progress: dict[str, float] = Field(
        default_factory=dict, description="what it counted itself, by progress(games=1)"
    )


class Program(Model):
    """A program that was watched from outside: `blobdiag run -- CMD`."""

    command: str = Field(description="the command line, masked")
    exit_code: int | None = Field(description="None: it was still running, or ended by a signal")
    signal: int | None = Field(default=None, description="the signal that ended it")
    expected_device: str | None = Field(
        default=None, description="the kind of device its networks should be on: 'cuda'"
    )
    expected_by: str | None = Field(default=None, description="what says so: an option's text")
    instrumented: bool = Field(description="whether its Python processes were counted from inside")
    phases_from: str | None = Field(
        default=None, description="'markers' or 'GPU activity'; None: no phases were found"
    )
    processes: list[ProcessRecord] = Field(default_factory=list)
    processes_left_out: int = Field(default=0, description="short-lived ones, past the limit")


class IdleGap(Stretch):
    """A stretch in which a device that should have worked did not."""

    device: str = Field(
        description="the GPU's UUID, or 'cpu' where self-play and training run on it"
    )
    phase: str | None = Field(description="the phase it lies in, or 'before → after'")


class Match(Model):
    """A player in every seat of each deal, against copies of another: the cards' luck cancels."""

    player: str
    opponent: str
    deals: int = Field(description="each played once with the player in every seat")
    difference: Metric = Field(
        description="the player's mean score minus the opponents', its interval clustered by deal"
    )
    exact_bids: float = Field(description="share of the player's bids that were made exactly")
    opponents_exact_bids: float
    seconds: float | None = Field(default=None, description="None: of several matches together")


class TrainedIteration(Model):
    """One finished iteration of a training run, with what of it was done before a resume."""

    iteration: int = Field(description="from 1")
    games: int
    determinizations: int
    simulations: int
    chunks: int = Field(description="self-play's units, each repeated if it is interrupted")
    self_play_seconds: float
    evaluations_per_game: float
    examples: int
    buffer_examples: int = Field(description="those that training drew from")
    steps: int
    training_seconds: float
    learning_rate: float = Field(description="of its last step")
    policy_loss: float | None = Field(
        description="mean of the last tenth of its steps, nats; None: it had no step"
    )
    value_loss: float | None
    weights_hash: str
    weights_ages: dict[int, int] = Field(
        description="iterations that the weights a game ended with were behind: how many games"
    )
    mean_age: float = Field(
        description="iterations since the buffer's examples were played, when it ended"
    )
    mean_uses: float = Field(description="times each of them had been trained on until then")
    core_seconds: float | None = Field(
        default=None,
        description="of self-play and training: seconds × cores kept busy; None on a GPU",
    )
    evaluation_seconds: float = Field(default=0.0, description="of its matches, all together")
    matches: list[Match] = Field(
        default_factory=list, description="of the network with its search; empty: none was played"
    )


class TrainingRun(Model):
    """A training of several iterations, or one that is kept in a folder."""

    wanted: int = Field(description="iterations it will have")
    taken_up_at: int = Field(default=0, description="iterations that were finished before this run")
    iterations: list[TrainedIteration] = Field(description="all that are finished")
    examples_by_age: dict[int, int] = Field(
        description="of the last training: iterations since an example was played: how many "
        "examples; empty: this run has finished none"
    )
    examples_by_uses: dict[int, int] = Field(
        description="of the last training: times an example had been trained on when it ended: "
        "how many examples; empty: this run has finished none"
    )


class PlanTerm(Model):
    """One summand of an iteration's minutes, with what a free one would gain (Amdahl)."""

    name: str
    minutes: float
    share: float
    formula: str
    days_saved_if_free: float


class PlanScenario(Model):
    """An iteration plan at an assumed self-play rate, for comparison with the measured one."""

    name: str
    games_per_minute: Interval
    days: Interval
    assumption: str


class Plan(Model):
    """Capacity: iterations × games on this machine."""

    iterations: int
    games_per_iteration: int = Field(description="where they grow: the mean, rounded")
    reuse: float
    terms: list[PlanTerm]
    minutes_per_iteration: float
    days: float
    days_interval: Interval | None
    interval_reason: str | None = Field(default=None, description="why `days_interval` is null")
    scenarios: list[PlanScenario]


class MemoryFigures(Model):
    """Sizes of the built-in engine for the run's network and search, as it computes them itself."""

    parameters: int = Field(description="numbers in the plain network, which is trained; float32")
    inference_parameters: int = Field(description="numbers in its inference form")
    folding_bytes: int = Field(description="float64 scratch while the inference form is computed")
    activation_row_bytes: dict[str, int] = Field(
        description="by dtype: peak per row of a batch in the inference form"
    )
    training_row_bytes: int = Field(
        description="per row of a training batch: kept for the backward pass"
    )
    batch_row_bytes: int = Field(description="per row of a batch, on the host")
    lane_bytes: int = Field(
        description="per game in progress, on the host: its examples so far and its trees"
    )
    trees_per_lane: int
    example_bytes: int = Field(description="per example in the replay buffer, on the host")
    row_multiple: int = Field(description="a batch has a multiple of this many rows")
    full_share: float = Field(description="rows of a batch ÷ trees of its lanes, before rounding")
    groups_per_thread: int = Field(
        description="groups of lanes of a search thread on CUDA, each with a batch of its own"
    )


class Event(Model):
    """Something that happened: a lost worker, an interrupt, a warning."""

    at_s: float
    kind: str
    text: str


class Report(Model):
    """One run of one command."""

    schema_version: Literal[4] = SCHEMA_VERSION
    command: str
    device: str = Field(description="the device asked for, resolved")
    started_utc: str
    seconds: float
    interrupted: bool = False
    verdict: Status
    verdict_text: str
    exit_code: int
    configuration: dict[str, str | int | float | bool | None]
    machine: Machine
    gpus: list[Gpu]
    gpu_reason: str | None = Field(default=None, description="why `gpus` is empty, if it is")
    software: Software
    phases: list[Phase] = Field(default_factory=list)
    series: list[Series] = Field(default_factory=list)
    unsupported: dict[str, str] = Field(default_factory=dict, description="metric: why it is null")
    pid: int | None = Field(
        default=None, description="of the measuring process, the workers' parent"
    )
    workers: list[WorkerRecord] = Field(default_factory=list)
    weights_hash: str | None = Field(
        default=None, description="of the weights the workers should play with at the end"
    )
    weights_version: int | None = Field(
        default=None, description="how often those weights were replaced"
    )
    holds: list[Hold] = Field(default_factory=list, description="of the measuring process")
    throughput: list[Throughput] = Field(default_factory=list)
    metrics: list[Metric] = Field(default_factory=list)
    idle_gaps: list[IdleGap] = Field(default_factory=list)
    validity: list[Validity] = Field(
        default_factory=list, description="rules of the whole run, kept or not"
    )
    checks: list[Check] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list)
    program: Program | None = Field(default=None, description="where another program was watched")
    verification: Verification | None = Field(
        default=None, description="of the costliest finding's remedy, where that was asked for"
    )
    training: TrainingRun | None = Field(
        default=None, description="where several iterations were run, or one kept"
    )
    matches: list[Match] = Field(default_factory=list, description="that the command itself played")
    plan: Plan | None = None
    memory: MemoryFigures | None = Field(
        default=None, description="of the built-in engine; older reports do not have it"
    )
    events: list[Event] = Field(default_factory=list)
    seconds_shortest_visible_gap: float | None = None
