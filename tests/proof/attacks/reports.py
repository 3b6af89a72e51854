"""Damaged and hostile reports through every reader: time, memory, output and exit code judged.

Mutated reports are read in one process, so that ten thousand take minutes; the largest files that
are read, one of each kind, by the command itself, whose memory is the system's figure.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from time import process_time
from typing import Any

from hostile_readers import ANOTHER, READERS, SLOW, faults
from mutated_reports import bases, mutated

from attacks.common import Attack
from blobdiag.diagnosis.judge import judge
from blobdiag.model.bounded_json import MOST_OF
from blobdiag.model.report_files import MOST_BYTES, ReportError, read_report

PAGE_EVERY = 25
"""Pages are drawn of one in so many: each takes a second."""
MOST_SECONDS, MOST_MIB = 5.0, 300.0
QUICK = [name for name in READERS if name not in SLOW]
MEASURED = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "wb"), stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """Mutated reports, then the largest ones."""
    yield _mutated(folder, count)
    yield from _largest(folder)


def _mutated(folder: Path, count: int) -> Attack:
    calls = valid = 0
    slowest = 0.0
    wrong: Counter[str] = Counter()
    file = folder / "mutated" / "report.json"
    file.parent.mkdir(exist_ok=True)
    for number in range(count):
        file.write_bytes(mutated(number))
        readers = ["validate", QUICK[number % len(QUICK)]]
        try:
            report = read_report(file)
        except ReportError:
            pass
        else:
            valid += 1
            readers = [*QUICK, *(SLOW if number % PAGE_EVERY == 0 else ())]
            judge(report)
        for reader in readers:
            begun = process_time()
            found = faults(reader, file)
            slowest = max(slowest, process_time() - begun)
            calls += 1
            if found:
                wrong[f"{number} in {reader}: {found[0]}"] += 1
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seen = f"{calls:,} calls, {valid:,} valid; slowest {slowest:.1f} s; all in {most:,.0f} MiB"
    for text, _ in wrong.most_common(5):
        seen += f"; {text}"
    return Attack(
        f"{count:,} mutated reports, every reader",
        "an answer, or one line and exit code 2; at most 5 s each",
        f"{len(wrong)} faults in {seen}",
        not wrong and slowest <= MOST_SECONDS,
    )


def _largest(folder: Path) -> Iterator[Attack]:
    place = folder / "largest"
    place.mkdir(exist_ok=True)
    file, page, trace = place / "a.json", folder / "page.html", folder / "a.trace"
    name = str(file)
    commands = {
        "validate": ["report", "validate", name],
        "show": ["report", "show", name],
        "list": ["report", "list", str(place)],
        "trace": ["report", "trace", name, "--output", str(trace)],
        "html": ["report", "html", name, "--output", str(page)],
        "judge": ["report", "judge", name],
        "diff": ["report", "diff", name, str(ANOTHER)],
        "plan": ["plan", name, "--accept-invalid"],
    }
    for kind, content in largest().items():
        file.write_bytes(content)
        seconds = mib = 0.0
        written = 0
        faulty = []
        for reader, arguments in commands.items():
            page.unlink(missing_ok=True)
            trace.unlink(missing_ok=True)
            code, spent, most = _measured(folder / "output", arguments)
            seconds, mib = max(seconds, spent), max(mib, most)
            sizes = [p.stat().st_size for p in (folder / "output", page, trace) if p.exists()]
            written = max(written, *sizes)
            if code not in (0, 1, 2, 3) or spent > MOST_SECONDS or most > MOST_MIB:
                faulty.append(f"{reader}: exit code {code}, {spent:.1f} s, {most:.0f} MiB")
            if page.exists() and page.stat().st_size > 1_500_000:
                faulty.append(f"a page of {page.stat().st_size:,} bytes")
        seen = f"{seconds:.1f} s, {mib:.0f} MiB, {written / 1e6:.1f} MB written"
        yield Attack(
            f"largest report of {kind}, {len(content) / 1e6:.1f} MB",
            f"CPU ≤ {MOST_SECONDS:g} s, ≤ {MOST_MIB:.0f} MiB, page ≤ 1.5 MB",
            "; ".join([f"at most {seen}", *faulty]),
            not faulty,
        )


def _measured(output: Path, arguments: list[str]) -> tuple[int, float, float]:
    """Exit code, CPU seconds and MiB of a command; from a small process, which forks no large one.

    Memory that a process had at its fork counts as its own.
    """
    command = [sys.executable, "-m", "blobdiag", *arguments]
    line = subprocess.check_output(
        [sys.executable, "-S", "-c", MEASURED, str(output), *command],
        env=os.environ | {"COLUMNS": "100"},
    )
    code, seconds, mib = json.loads(line)
    return code, seconds, mib


def largest() -> dict[str, bytes]:
    """Files near the largest that is read, of one kind of content each; most are valid."""
    base = deepcopy(bases()[0])
    trained, watched = (deepcopy(b) for b in bases()[4:6])
    points = [0.123456789 * i for i in range(2_000)]
    sampled = [
        {"name": f"process/{i}/cpu", "unit": "%", "times_s": points, "values": points}
        for i in range(100)
    ]
    gpus = [base["gpus"][0] | {"uuid": f"GPU-{i}"} for i in range(250)]
    of_gpus = [
        {
            "name": f"gpu/{gpu['uuid']}/utilization",
            "unit": "%",
            "times_s": points[:600],
            "values": points[:600],
        }
        for gpu in gpus
    ]
    event = {"at_s": 1.0, "kind": "x", "text": "word & <b> " * 60}
    phase, worker = base["phases"][1], base["workers"][0]
    check, gap = base["checks"][0], base["idle_gaps"][0]
    process = watched["program"]["processes"][0]
    iteration = trained["training"]["iterations"][0]
    return {
        "empty objects": b'{"schema_version":5,"command":[' + b"{}," * 1_000_000 + b"{}]}",
        "one letter": b'{"schema_version":5,"command":"' + b"x" * (MOST_BYTES - 40) + b'"}',
        "numbers": b'{"schema_version":5,"command":[' + b"1.5," * 1_900_000 + b"1]}",
        "samples": _json(base | {"series": sampled}),
        "GPUs": _json(base | {"gpus": gpus, "series": of_gpus}),
        "events": _filled(base, ("events",), lambda i: event),
        "phases": _filled(
            base, ("phases",), lambda i: phase | {"start_s": float(i), "end_s": i + 0.5}
        ),
        "workers": _filled(base, ("workers",), lambda i: worker | {"worker": i, "pid": i}),
        "idle gaps": _filled(
            base, ("idle_gaps",), lambda i: gap | {"start_s": float(i), "end_s": i + 0.5}
        ),
        "checks": _filled(
            base | {"verdict": "INCONCLUSIVE", "exit_code": 3},
            ("checks",),
            lambda i: check | {"name": f"c{i}"},
        ),
        "throughputs": _filled(
            base,
            ("throughput",),
            lambda i: base["throughput"][0] | {"device": f"cuda:{i}", "blocks": []},
        ),
        "processes": _filled(
            watched, ("program", "processes"), lambda i: process | {"pid": i + 2, "parent_pid": i}
        ),
        "iterations": _filled(
            trained, ("training", "iterations"), lambda i: iteration | {"iteration": i + 1}
        ),
        "reasons": _json(
            base | {"unsupported": {f"gpu/{i}/x": f"{i} " * 120 for i in range(9_900)}}
        ),
        "settings": _json(
            base | {"configuration": {f"k{i}": f"v{i} " * 3_000 for i in range(490)}}
        ),
    }


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def _filled(data: Any, at: tuple[str, ...], make: Any) -> bytes:
    """With as many parts in a list as a file may have."""
    data = deepcopy(data)
    inside = data
    for name in at[:-1]:
        inside = inside[name]
    inside[at[-1]] = []
    room = MOST_BYTES - len(_json(data)) - 1_000
    each = len(_json(make(9_999))) + 2
    objects = _json(make(0)).count(b"{") + _json(make(0)).count(b"[")
    fields = _json(make(0)).count(b":")
    most = min(MOST_OF.get(at[-1], 9_900), room // each, 59_000 // objects, 395_000 // fields)
    inside[at[-1]] = [make(i) for i in range(most)]
    return _json(data)
