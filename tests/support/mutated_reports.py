"""Reports as an attacker, a bad disk or a careless editor leaves them: real ones, mutated.

Each is made from its number alone, so that a failure can be made again.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import reports
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.report import Report
from blobdiag.model.training import TrainingRun

SAVED = sorted((Path(__file__).parents[2] / "reports").glob("*/*.json"))
MOST_BASE_BYTES = 60_000
"""Of a saved report that is mutated: the largest ones differ in samples only."""

ESCAPE = "\x1b[31m"
TEXTS: tuple[Any, ...] = (
    "",
    "[/]",
    "[bold]x[/bold][/]",
    f"{ESCAPE}red{ESCAPE}]0;title\x07",
    "\ud800",
    "\udcff",
    "cpu\x00",
    "‮txt.exe",
    "<script>alert(1)</script>",
    "</script>{{ 7 * 7 }}",
    "| a | b |\n---",
    "cuda:99999999999999999999",
    "cuda:²",
    "float8_e5m2",
    "x" * 30_000,
    "\n" * 2_000,
    "💥" * 500,
    "2026-13-45T99:99:99Z",
    "1e308",
    "../../etc/passwd",
)
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    0.5,
    -0.0,
    1e308,
    -1e308,
    1e-320,
    5e-324,
    1e18,
    -1e18,
    1e-100,
    10**400,
    2**63,
    -(2**63),
    float("nan"),
    float("inf"),
    999_999_999,
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], {"": {}}, [None], {"a": 1})
STATUSES = ("PASS", "FAIL", "INCONCLUSIVE", "NOT APPLICABLE")
COMMANDS = ("check-gpu", "compare", "iteration", "evaluate", "run", "tune", "nothing")

Path_ = tuple[Any, ...]


@cache
def bases() -> tuple[dict[str, Any], ...]:
    """Valid reports of every command, as JSON objects."""
    made = [
        reports.full(),
        reports.minimal(),
        reports.full(command="check-gpu"),
        reports.full(command="compare"),
        _trained(),
        _watched(),
    ]
    saved = [json.loads(p.read_text()) for p in SAVED if p.stat().st_size <= MOST_BASE_BYTES]
    return (*(json.loads(one.model_dump_json()) for one in made), *saved)


def _trained() -> Report:
    iterations = [
        reports.trained_iteration(number, random=(0.2 * number, 0.1), rules=(-1.0, 0.2))
        for number in range(1, 5)
    ]
    run = TrainingRun(
        wanted=8, iterations=iterations, examples_by_age={0: 10}, examples_by_uses={4: 10}
    )
    return reports.full(command="iteration", training=run, matches=iterations[-1].matches)


def _watched() -> Report:
    module = ModuleCalls(
        module="nets.Net",
        parameter_device="cpu",
        input_device="cpu",
        dtype="torch.float32",
        train_mode=True,
        grad_enabled=True,
        calls=5_000,
        rows=5_000,
        timed_calls=10,
        host_seconds=3.0,
        batch_histogram={1: 5_000},
        threads=2,
        intra_op_threads=8,
    )
    processes = [
        ProcessRecord(
            pid=100 + number,
            parent_pid=99 + number,
            command="python train.py",
            started_s=0.1,
            ended_s=60.0,
            cpu_seconds=50.0,
            rss_mib=900.0,
            threads=12,
            libraries=["torch", "cuda"],
            instrumented=True,
            cuda_initialised=True,
            gpu_memory_mib=500.0,
            cpu_count=8,
            modules=[module],
            progress={"games": 30.0},
        )
        for number in range(4)
    ]
    program = Program(
        command="python train.py",
        exit_code=0,
        expected_device="cuda",
        instrumented=True,
        phases_from="markers",
        processes=processes,
    )
    return reports.full(command="run", program=program, workers=[], verdict="INCONCLUSIVE")


def mutated(number: int) -> bytes:
    """The content of a file."""
    rng = random.Random(number)
    data = deepcopy(rng.choice(bases()))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        rng.choice(_MUTATIONS)(rng, data)
    if rng.random() < 0.12:
        return rng.choice(_BYTES)(rng, _dumped(data))
    return _dumped(data)


def _dumped(data: Any) -> bytes:
    return json.dumps(data).encode()


def paths(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Of every part."""
    if at:
        yield at
    if not isinstance(value, (dict, list)):
        return
    for name, one in value.items() if isinstance(value, dict) else enumerate(value):
        yield from paths(one, (*at, name))


def part(data: Any, at: Path_) -> Any:
    """What stands at a path."""
    for name in at:
        data = data[name]
    return data


def put(data: Any, at: Path_, value: Any) -> None:
    """Replace what stands at a path."""
    part(data, at[:-1])[at[-1]] = value


def _somewhere(rng: random.Random, data: Any) -> Path_:
    """Not among the samples, most of the time: they are most of a report."""
    found = list(paths(data))
    few = [at for at in found if not (at[0] == "series" and len(at) > 3)]
    return rng.choice(few if rng.random() < 0.95 and few else found or [("command",)])


def _hostile(rng: random.Random, old: Any) -> Any:
    """Mostly of the same type, so that the report stays valid."""
    if rng.random() < 0.15:
        return rng.choice((*TEXTS, *NUMBERS, *OTHERS))
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return rng.choice([one for one in NUMBERS if isinstance(one, int)])
    if isinstance(old, float):
        return rng.choice(NUMBERS)
    if isinstance(old, str):
        return rng.choice((*TEXTS, *STATUSES, *COMMANDS) if old not in STATUSES else STATUSES)
    return rng.choice((None, [], {}, 0, 0.5, "[/]"))


def _replace(rng: random.Random, data: Any) -> None:
    at = _somewhere(rng, data)
    put(data, at, _hostile(rng, part(data, at)))


def _replace_all(rng: random.Random, data: Any) -> None:
    """Of one name, wherever it stands."""
    name = _somewhere(rng, data)[-1]
    value: Any = None
    for at in list(paths(data)):
        if at[-1] == name and not isinstance(name, int):
            value = _hostile(rng, part(data, at)) if value is None else value
            put(data, at, value)


def _remove(rng: random.Random, data: Any) -> None:
    at = _somewhere(rng, data)
    del part(data, at[:-1])[at[-1]]


def _add(rng: random.Random, data: Any) -> None:
    containers = [at for at in paths(data) if isinstance(part(data, at), (dict, list))]
    inside = part(data, rng.choice(containers)) if containers else data
    value = rng.choice((*TEXTS, *NUMBERS, *OTHERS))
    if isinstance(inside, dict):
        inside[str(rng.choice(TEXTS))] = value
    else:
        inside.append(value)


def _repeat(rng: random.Random, data: Any) -> None:
    """A list many times as long."""
    lists = [at for at in paths(data) if isinstance(part(data, at), list) and part(data, at)]
    lists = [at for at in lists if len(part(data, at)) < 1_000]
    if lists:
        at = rng.choice(lists)
        put(data, at, part(data, at) * rng.choice((2, 10, 300)))


def _empty(rng: random.Random, data: Any) -> None:
    containers = [at for at in paths(data) if isinstance(part(data, at), (dict, list))]
    if containers:
        part(data, rng.choice(containers)).clear()


def _swap(rng: random.Random, data: Any) -> None:
    one, other = _somewhere(rng, data), _somewhere(rng, data)
    values = deepcopy(part(data, one)), deepcopy(part(data, other))
    for at, value in zip((one, other), reversed(values), strict=True):
        try:
            put(data, at, value)
        except (KeyError, IndexError, TypeError):
            return  # one was inside the other


def _other_command(rng: random.Random, data: Any) -> None:
    data["command"] = rng.choice(COMMANDS)


def _other_version(rng: random.Random, data: Any) -> None:
    data["schema_version"] = rng.choice((1, 2, 3, 4, 5, 6, 0, -1, 10**30, "5", None, True))


def _borrow(rng: random.Random, data: Any) -> None:
    """A part of another report."""
    other = rng.choice(bases())
    name = rng.choice(list(other))
    data[name] = deepcopy(other[name])


_MUTATIONS: tuple[Callable[[random.Random, Any], None], ...] = (
    _replace,
    _replace,
    _replace,
    _replace,
    _replace_all,
    _replace_all,
    _remove,
    _add,
    _repeat,
    _empty,
    _swap,
    _other_command,
    _other_version,
    _borrow,
    _borrow,
)


def _flipped(rng: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 20)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _joined(rng: random.Random, content: bytes) -> bytes:
    return content + rng.choice((b"", b"\n")) + _dumped(rng.choice(bases()))


def _twice(rng: random.Random, content: bytes) -> bytes:
    """The members of two objects in one."""
    return content.rstrip()[:-1] + b"," + _dumped(rng.choice(bases()))[1:]


_BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flipped,
    _flipped,
    _cut,
    _joined,
    _twice,
    lambda rng, content: gzip.compress(content, 1),
    lambda rng, content: content.decode().encode("utf-16"),
    lambda rng, content: b"\xef\xbb\xbf" + content,
    lambda rng, content: b"[" * rng.choice((10, 900, 50_000, 200_000)) + content,
    lambda rng, content: b'{"schema_version": 5, "command": [' + b"{}," * 1_000_000 + b"{}]}",
)
