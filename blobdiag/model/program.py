"""A watched program: its processes and their network calls."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Model


class ModuleCalls(Model):
    """Outermost forward calls of one kind in one process, counted inside the process."""

    module: str = Field(description="the class: package.module.Name")
    parameter_device: str = Field(description="'cpu', 'cuda:0', …; 'none': no parameters")
    input_device: str = Field(description="device of the first input tensor; 'none': no tensor")
    dtype: str = Field(description="dtype of the first parameter; 'none': no parameters")
    train_mode: bool
    grad_enabled: bool
    calls: int
    rows: int | None = Field(
        description="sum of the inputs' first dimensions; None: inputs have no dimension"
    )
    exceptions: int = Field(default=0, description="calls that raised")
    timed_calls: int = Field(default=0, description="calls whose host time was taken")
    host_seconds: float = Field(
        default=0.0, description="host time of the timed calls; a GPU may still compute afterwards"
    )
    batch_histogram: dict[int, int] = Field(
        default_factory=dict,
        description="number of calls by rows per call, rounded up to a power of two",
    )
    threads: int = Field(default=1, description="most threads that called it at one time")
    intra_op_threads: int | None = Field(
        default=None, description="torch.get_num_threads() in the calling thread"
    )

    @property
    def mean_batch(self) -> float | None:
        return self.rows / self.calls if self.rows and self.calls else None


class ProcessRecord(Model):
    """One process of a watched program, as seen by the system and as counted inside it."""

    pid: int
    parent_pid: int
    command: str = Field(description="command line, masked")
    started_s: float
    ended_s: float | None = Field(default=None, description="None: the process outlived the run")
    cpu_seconds: float | None = None
    rss_mib: float | None = Field(default=None, description="peak resident memory")
    threads: int | None = Field(default=None, description="most operating-system threads seen")
    libraries: list[str] = Field(
        default_factory=list,
        description="those of torch, jax, tensorflow, onnxruntime, cuda that are mapped",
    )
    driver_opened: bool | None = Field(
        default=None,
        description="whether it has NVIDIA's device files open; does not prove a CUDA context",
    )
    instrumented: bool = Field(
        default=False, description="whether calls were counted inside the process"
    )
    reason: str | None = Field(
        default=None, description="why calls were not counted, or not until the process ended"
    )
    python: str | None = None
    torch: str | None = None
    start_method: str | None = Field(
        default=None,
        description="multiprocessing start method: fork, spawn, forkserver; None: none of these",
    )
    cuda_visible_devices: str | None = None
    cuda_initialised: bool | None = Field(
        default=None, description="torch.cuda.is_initialized(); None: unknown"
    )
    gpu_memory_mib: float | None = Field(
        default=None, description="peak memory that torch reserved on any one device"
    )
    cpu_count: int | None = Field(default=None, description="os.cpu_count() in the process")
    debug_switches: list[str] = Field(
        default_factory=list,
        description="active debug switches: detect_anomaly, CUDA_LAUNCH_BLOCKING, …",
    )
    unseen: list[str] = Field(
        default_factory=list,
        description="ways of calling a network that were used but are not counted: dynamo, …",
    )
    modules: list[ModuleCalls] = Field(default_factory=list)
    modules_left_out: int = Field(
        default=0, description="calls not counted because there were too many kinds of calls"
    )
    progress: dict[str, float] = Field(
        default_factory=dict, description="totals of the process's own progress(games=1) calls"
    )


class Program(Model):
    """A program that was watched from outside: `blobdiag run -- CMD`."""

    command: str = Field(description="command line, masked")
    exit_code: int | None = Field(description="None: still running, or ended by a signal")
    signal: int | None = Field(default=None, description="the signal that ended it")
    expected_device: str | None = Field(
        default=None, description="kind of device that its networks should be on: 'cuda'"
    )
    expected_by: str | None = Field(
        default=None, description="the option that names the expected device"
    )
    instrumented: bool = Field(description="whether calls were counted inside its Python processes")
    phases_from: str | None = Field(
        default=None, description="'markers' or 'GPU activity'; None: no phases were found"
    )
    processes: list[ProcessRecord] = Field(default_factory=list)
    processes_left_out: int = Field(default=0, description="short-lived processes beyond the limit")
