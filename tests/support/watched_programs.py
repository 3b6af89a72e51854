"""Watched programs in the shapes people have, scripted: sick ones by finding, and healthy ones."""

from __future__ import annotations

from watched import calls, on_gpu, process, training, watched

from blobdiag.model import names
from blobdiag.model.report import Report

_FULL_CARD = {0: 2_600.0} | dict.fromkeys(range(1, 9), 1_100.0)
_THREADS = {"threads": 8, "host_seconds": 2e-2 * 2_000}
"""Eight threads, each of whose calls takes 20 ms: they wait for the lock within them."""
_LOST = [process(n, calls("cpu", rows=1.0)) for n in (1, 2)]

SICK: dict[str, dict[str, Report]] = {
    "device-not-propagated": {
        "a pool whose parent trains on the GPU": watched(
            [on_gpu(0, training("cuda:0")), *_LOST], gpu=True, listed={0: 2_900.0}
        ),
        "a pool whose parent only holds the context": watched([on_gpu(0), *_LOST], gpu=True),
        "the command line asks, no GPU is there": watched(
            [process(0), *_LOST], expect="cuda", because="--device cuda"
        ),
        "one worker of two": watched(
            [
                on_gpu(0, training("cuda:0")),
                on_gpu(1, calls("cuda:0")),
                process(2, calls("cpu", 900)),
            ],
            expect="cuda",
            gpu=True,
        ),
        "one process that fell back": watched([process(0, calls("cpu"))], expect="cuda"),
        "behind a shell, started by torchrun": watched(
            [
                process(0, command="sh -c …", libraries=[], torch=None, python=None),
                process(1, command="python torchrun …"),
                process(2, calls("cpu"), parent_pid=4_001),
            ],
            expect="cuda",
        ),
    },
    "tiny-batches": {
        "one leaf a call on the GPU": watched(
            [on_gpu(0, training("cuda:0")), on_gpu(1, calls("cuda:0", rows=1.0))], gpu=True
        ),
        "sixteen, few processors at work": watched(
            [on_gpu(0, calls("cuda:0", rows=16.0))], gpu=True, sm_activity=9.0, utilisation=60.0
        ),
        "one leaf on a CPU, where the trainer's rows cost less": watched(
            [process(0, training()), process(1, calls(rows=1.0)), process(2, calls(rows=1.0))]
        ),
    },
    "busy-but-starved": {
        "one small kernel at a time": watched(
            [on_gpu(0, calls("cuda:0"))], gpu=True, utilisation=98.0, sm_activity=6.0
        ),
        "in marked self-play": watched(
            [on_gpu(0, calls("cuda:0"), training("cuda:0"))],
            gpu=True,
            utilisation=90.0,
            sm_activity=12.0,
            phases={"self-play": (4.0, 20.0), "training": (20.0, 29.0)},
        ),
        "without forwards that are counted": watched(
            [process(0, libraries=["cuda", "jax"], torch=None, driver_opened=True)],
            gpu=True,
            utilisation=99.0,
            sm_activity=3.0,
        ),
    },
    "too-many-workers": {
        f"{n} on one GPU": watched(
            [on_gpu(0), *(on_gpu(k, calls("cuda:0")) for k in range(1, n + 1))],
            gpu=True,
            utilisation=99.0,
            sm_activity=8.0,
        )
        for n in (9, 16, 60)
    },
    "context-per-worker": {
        "of CPU workers, by the parent's tensors": watched(
            [on_gpu(0, training("cuda:0"))]
            + [on_gpu(n, calls("cpu"), gpu_memory_mib=20.0) for n in (1, 2)],
            gpu=True,
            listed={0: 2_900.0, 1: 520.0, 2: 520.0},
        ),
        "memory is not listed": watched(
            [on_gpu(0, training("cuda:0")), on_gpu(1, calls("cpu"), gpu_memory_mib=None)], gpu=True
        ),
        "eight fill a tenth of the card": watched(
            [on_gpu(0, training("cuda:0"))] + [on_gpu(n, calls("cuda:0")) for n in range(1, 9)],
            gpu=True,
            listed=_FULL_CARD,
        ),
    },
    "gil-bound-threads": {
        "eight threads share a network": watched([process(0, calls(**_THREADS))], host=30.0),
        "four": watched(
            [process(0, calls(threads=4, host_seconds=0.01 * 2_000))], cpu={0: 120.0}, host=40.0
        ),
        "on a GPU that waits": watched(
            [on_gpu(0, calls("cuda:0", **_THREADS))], gpu=True, utilisation=30.0, host=20.0
        ),
    },
    "queue-bound-server": {
        "two clients": watched(
            [process(0, calls(rows=2.0, host_seconds=0.4)), process(1), process(2)],
            cpu={1: 40.0, 2: 35.0},
        ),
        "a server among the workers": watched(
            [process(0), *(process(n) for n in range(1, 5)), on_gpu(5, calls("cuda:0", rows=12.0))],
            gpu=True,
            sm_activity=40.0,
            cpu=dict.fromkeys(range(5), 20.0),
        ),
        "clients too idle to be sampled": watched(
            [
                process(0, calls(rows=4.0, host_seconds=0.4)),
                *(process(n, cpu_seconds=4.0) for n in (1, 2)),
            ]
        ).model_copy(update={"series": []}),
    },
    "cpu-oversubscription": {
        "two workers of as many threads as cores": watched(
            [process(0), *(process(n, calls(intra_op_threads=2)) for n in (1, 2))],
            cores=2,
            switches={1: 5_000.0, 2: 4_800.0},
        ),
        "sixteen": watched(
            [process(0), *(process(n, calls(intra_op_threads=8)) for n in range(1, 17))],
            switches=dict.fromkeys(range(1, 17), 2_000.0),
        ),
        "of those on a GPU machine": watched(
            [on_gpu(0), *(process(n, calls(intra_op_threads=8)) for n in (1, 2))],
            expect="cpu",
            gpu=True,
            switches={1: 5_000.0},
        ),
    },
    "idle-gap-between-phases": {
        "between self-play and training": watched(
            [on_gpu(0, calls("cuda:0"), training("cuda:0"))],
            gpu=True,
            gaps=[(18.0, 21.0)],
            phases={"self-play": (4.0, 18.0), "training": (21.0, 29.0)},
        ),
        "nothing is marked": watched(
            [on_gpu(0, calls("cuda:0"))], gpu=True, gaps=[(5.0, 8.0), (15.0, 18.0)]
        ),
        "without forwards that are counted": watched(
            [process(0, libraries=["cuda", "jax"], torch=None, driver_opened=True)],
            gpu=True,
            gaps=[(10.0, 14.0)],
        ),
    },
    "cores-counted-wrong": {
        "intra-op threads of the whole machine": watched(
            [process(0, calls(intra_op_threads=8))], cores=2, quota=2.0
        ),
        "a worker for each core of the machine": watched(
            [process(0), *(process(n, calls()) for n in range(1, 9))], cores=2, quota=2.0
        ),
        "quota of 3.5": watched(
            [process(0), process(1, calls(intra_op_threads=8))], cores=3, quota=3.5
        ),
    },
    "train-mode-in-self-play": {
        "dropout": watched([process(0), process(1, calls(train_mode=True))]),
        "gradients in a worker": watched([process(0), process(1, calls(grad_enabled=True))]),
        "both, below a trainer": watched(
            [
                process(0, training()),
                process(1, calls(rows=16.0, train_mode=True, grad_enabled=True)),
            ]
        ),
        "both, where games are counted": watched(
            [
                process(0),
                process(1, calls(train_mode=True, grad_enabled=True), progress={"games": 40.0}),
            ]
        ),
        "both, where self-play is all that is marked": watched(
            [process(0, calls(train_mode=True, grad_enabled=True))],
            phases={"self-play": (3.0, 29.0)},
        ),
    },
    "debug-switches": {
        "anomaly detection": watched([process(0, training(), debug_switches=["detect_anomaly"])]),
        "launch blocking": watched(
            [on_gpu(0, calls("cuda:0"), debug_switches=["CUDA_LAUNCH_BLOCKING"])], gpu=True
        ),
        "in a worker": watched(
            [process(0), process(1, calls(), debug_switches=["detect_anomaly"])]
        ),
    },
    "near-out-of-memory": {
        "by one process": watched([on_gpu(0, training("cuda:0"))], gpu=True),
        "by many": watched([on_gpu(0), on_gpu(1, calls("cuda:0"))], gpu=True),
        "without forwards that are counted": watched(
            [process(0, libraries=["cuda", "jax"], torch=None, driver_opened=True)], gpu=True
        ),
    },
    "uninstrumented": {
        f"python {option}": watched(
            [
                process(0),
                process(
                    1,
                    command=f"python {option} worker.py",
                    instrumented=False,
                    reason=f"python {option} ignores PYTHONPATH or sitecustomize",
                    python=None,
                    torch=None,
                ),
            ]
        )
        for option in ("-I", "-E", "-S")
    },
}


def _nearly_full(report: Report) -> Report:
    """The same with the card's memory at 98 %."""
    gpu = report.gpus[0]
    utilisation = next(s for s in report.series if s.name.endswith("/utilization"))
    used = utilisation.model_copy(
        update={
            "name": names.gpu(gpu.uuid, "memory_used"),
            "unit": "MiB",
            "values": [0.98 * (gpu.memory_mib or 0.0)] * len(utilisation.values),
        }
    )
    return report.model_copy(update={"series": [*report.series, used]})


SICK["near-out-of-memory"] = {
    name: _nearly_full(report) for name, report in SICK["near-out-of-memory"].items()
}

HEALTHY: dict[str, Report] = {
    "a program that is no Python": watched(
        [process(0, command="./play", libraries=[], torch=None, python=None, instrumented=False)]
    ),
    "Python without torch": watched([process(0, libraries=[], torch=None)]),
    "torch, and no network": watched([process(0)]),
    "one process on the CPU, no GPU": watched([process(0, calls(), training())]),
    "one process on the CPU, one leaf a call": watched([process(0, calls(rows=1.0))]),
    "a pool on the CPU, no GPU": watched(
        [process(0, training()), *(process(n, calls(rows=32.0)) for n in range(1, 9))]
    ),
    "a pool on the CPU, as intended": watched(
        [on_gpu(0, training("cuda:0")), *(process(n, calls()) for n in (1, 2))],
        expect="cpu",
        gpu=True,
    ),
    "a pool on the GPU": watched(
        [on_gpu(0, training("cuda:0")), *(on_gpu(n, calls("cuda:0")) for n in (1, 2))],
        expect="cuda",
        gpu=True,
        sm_activity=50.0,
        listed={0: 1_100.0, 1: 1_000.0, 2: 1_000.0},
    ),
    "a network tried out before it is moved": watched(
        [
            on_gpu(0, training("cuda:0"), calls("cpu", 1, 1.0)),
            on_gpu(1, calls("cuda:0"), calls("cpu", 2, 1.0)),
        ],
        expect="cuda",
        gpu=True,
    ),
    "an evaluation on the CPU in the parent": watched(
        [
            on_gpu(0, training("cuda:0", 5_000), calls("cpu", 40)),
            *(on_gpu(n, calls("cuda:0")) for n in (1, 2)),
        ],
        expect="cuda",
        gpu=True,
    ),
    "a parent and its workers on the CPU beside a context": watched(
        [on_gpu(0, calls("cpu", 9_000)), process(1, calls("cpu"))], gpu=True
    ),
    "modules without parameters in loader workers": watched(
        [
            on_gpu(0, training("cuda:0")),
            *(process(n, calls("cpu", parameter_device="none")) for n in (1, 2)),
        ],
        expect="cuda",
        gpu=True,
    ),
    "a large model in small batches": watched(
        [on_gpu(0, training("cuda:0", 900, 4.0), calls("cuda:0", 300, 8.0))], gpu=True
    ),
    "training by torchrun": watched(
        [
            process(0, command="python torchrun …"),
            *(on_gpu(n, training("cuda:0"), calls("cuda:0", 500)) for n in (1, 2)),
        ],
        gpu=True,
    ),
    "workers that train, as in A3C": watched(
        [process(0), *(process(n, training(number=20_000, rows=5.0)) for n in (1, 2))]
    ),
    "a pass to settle batch norms": watched(
        [process(0, training(number=50_000), calls(number=2_000, train_mode=True))]
    ),
    "eight threads on eight cores": watched(
        [process(0, calls(threads=8, host_seconds=6.0))], cpu={0: 640.0}, host=85.0
    ),
    "eight threads that take turns": watched(
        [process(0, calls(threads=8, host_seconds=0.9))], cpu={0: 100.0}, host=20.0
    ),
    "eight threads that wait for a busy GPU": watched(
        [on_gpu(0, calls("cuda:0", **_THREADS))], gpu=True, utilisation=97.0, host=20.0
    ),
    "a server with full batches": watched(
        [on_gpu(0, calls("cuda:0", rows=256.0)), *(process(n) for n in range(1, 9))],
        gpu=True,
        cpu=dict.fromkeys(range(1, 9), 45.0),
    ),
    "a server whose clients are busy": watched(
        [process(0, calls(rows=4.0, host_seconds=0.4)), process(1), process(2)],
        cpu={1: 97.0, 2: 95.0},
    ),
    "intra-op threads that small networks never use": watched(
        [process(0), *(process(n, calls(intra_op_threads=8)) for n in range(1, 9))],
        switches=dict.fromkeys(range(1, 9), 60.0),
    ),
    "a parent that trains while its workers wait": watched(
        [process(0, training(intra_op_threads=8)), process(1, calls()), process(2, calls())],
        switches={0: 3_000.0},
    ),
    "a container that counts its cores": watched(
        [process(0), process(1, calls()), process(2, calls())], cores=2, quota=2.0
    ),
    "a C++ program with libtorch": watched(
        [
            process(
                0,
                command="./selfplay",
                python=None,
                torch=None,
                instrumented=False,
                reason="it is no Python program",
            )
        ]
    ),
}
