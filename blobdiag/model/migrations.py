"""Older reports, brought to today's schema one version at a time, as plain JSON objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from blobdiag import __version__
from blobdiag.model.report import SCHEMA_VERSION

Data = dict[str, Any]


class NotUpgradable(Exception):
    """A schema version that this blobdiag does not read; the text follows the file's name."""


def upgraded(data: Data) -> Data:
    """The same report in SCHEMA_VERSION; `data` stays as it is.

    Only the form is brought up to date, whether it is valid is the model's to say. Raises
    NotUpgradable.
    """
    version = data["schema_version"]
    if type(version) is not int or version < 1:
        raise NotUpgradable(f"is not a valid report: schema_version {version!r} was never written")
    if version > SCHEMA_VERSION:
        raise NotUpgradable(
            f"is of schema version {version} and needs {_writer(data)}; "
            f"this is blobdiag {__version__}, which reads up to version {SCHEMA_VERSION}"
        )
    for older in range(version, SCHEMA_VERSION):
        data = _STEPS[older](data) | {"schema_version": older + 1}
    return data


def _name_devices(data: Data) -> Data:
    """1 to 2: an idle gap's device, which may be the CPU, is no longer called `gpu`."""
    gaps = data.get("idle_gaps", [])
    if not isinstance(gaps, list):
        return data
    return data | {"idle_gaps": [_renamed(gap, "gpu", "device") for gap in gaps]}


def _as_it_is(data: Data) -> Data:
    """2 to 3, 3 to 4: only parts that older reports do not have came in."""
    return data


def _unjudged_facts(data: Data) -> Data:
    """4 to 5: what ended a run early, its windows and idle stretches are facts of their own."""
    events = [event for event in _list(data, "events") if isinstance(event, dict)]
    facts: Data = {}
    ended = next((e for e in events if e.get("kind") in ("interrupted", "timed-out")), None)
    if data.get("interrupted") is True and ended is not None:
        facts["ended_early"] = {
            "kind": ended["kind"],
            "by": str(ended.get("text")).removesuffix(": SIGTERM was sent to the command"),
            "exit_code": data.get("exit_code"),
        }
    if any(event.get("kind") == "running" for event in events):
        facts["running"] = True
    failed = next((e for e in events if e.get("kind") == "failed"), None)
    if failed is not None and data.get("program") is None:
        facts["failure"] = _last_line(str(failed.get("text")))
    died = next((e for e in events if str(e.get("text")).startswith(_DEATH)), None)
    if died is not None:
        facts["sampler_death"] = str(died["text"]).removeprefix(_DEATH)
    gaps = [gap for gap in _list(data, "idle_gaps") if isinstance(gap, dict)]
    facts["activity"] = [
        _activity(data, device, [gap for gap in gaps if gap.get("device") == device])
        for device in dict.fromkeys(str(gap.get("device")) for gap in gaps)
    ]
    facts["throughput"] = [_with_windows(data, one) for one in _list(data, "throughput")]
    return data | facts


_DEATH = "the sampler died: "


def _list(data: Data, name: str) -> list[Any]:
    found = data.get(name, [])
    return found if isinstance(found, list) else []


def _last_line(trace: str) -> str:
    """The error of a traceback, without its class."""
    line = (trace.strip().splitlines() or [""])[-1]
    kind, found, rest = line.partition(": ")
    return rest if found and re.fullmatch(r"[\w.]+", kind) else line


def _activity(data: Data, device: str, gaps: list[Data]) -> Data:
    """The gaps that were found in samples finer than those saved: all idleness that is known."""
    return {
        "device": device,
        "metric": "idle gaps as they were found",
        "first_busy_s": 0.0,
        "last_busy_s": data.get("seconds"),
        "idle": [{"start_s": gap.get("start_s"), "end_s": gap.get("end_s")} for gap in gaps],
        "unseen": [],
    }


def _with_windows(data: Data, throughput: Any) -> Any:
    """An iteration is measured in a part of its self-play: where, is told by its warm-up."""
    if not isinstance(throughput, dict) or data.get("command") != "iteration":
        return throughput
    phases = [
        phase
        for phase in _list(data, "phases")
        if isinstance(phase, dict) and phase.get("name") == "self-play"
    ]
    rules = [rule for rule in _list(data, "validity") if isinstance(rule, dict)]
    observed = next((r.get("observed") for r in rules if r.get("rule") == "warm-up excluded"), "")
    seconds = re.match(r"([\d.]+) s", str(observed))
    left = throughput.get("window_seconds")
    if not isinstance(left, (int, float)):
        return throughput
    windows: list[Data] = []
    for phase in phases:
        start, end = phase.get("start_s"), phase.get("end_s")
        if not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
            return throughput
        # Where no rule tells, it lay in the middle.
        start += float(seconds[1]) if seconds else max(0.0, end - start - left) / 2
        end = min(end, start + left)
        if start < end:
            windows.append({"start_s": start, "end_s": end})
            left -= end - start
    return throughput | {"windows": windows}


_STEPS: dict[int, Callable[[Data], Data]] = {
    1: _name_devices,
    2: _as_it_is,
    3: _as_it_is,
    4: _unjudged_facts,
}
"""By version: the step to the next one."""


def _renamed(part: Any, old: str, new: str) -> Any:
    if not isinstance(part, dict):
        return part
    return {new if name == old else name: value for name, value in part.items()}


def _writer(data: Data) -> str:
    """The blobdiag that wrote a report, as far as it says so."""
    software = data.get("software")
    version = str(software.get("blobdiag")) if isinstance(software, dict) else ""
    told = re.fullmatch(r"\d[\w.+-]{0,30}", version) and version != __version__
    return f"blobdiag {version} or newer" if told else "a newer blobdiag"
