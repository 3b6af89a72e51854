"""What was seen of a program that is not ours: its processes and their calls."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Model


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
