"""A plain checker of trace-event JSON, after the public description of the format.

Required of every event: ph, name, pid and tid, and ts in µs but for metadata. Then by ph: X has a
duration and nests with the others of its thread; C has numbers only, at least one; i has a scope;
M says what it names. On top of that, what blobdiag promises: whole µs from 0 up, events in order,
everything named, units on counters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

Event = dict[str, Any]

METADATA = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
KEYS = {
    "X": {"dur", "ts"},
    "C": {"ts"},
    "i": {"s", "ts"},
    "M": {"ts"},
}
ALWAYS = {"ph", "name", "pid", "tid", "args"}


def violations(trace: dict[str, Any], units: set[str]) -> list[str]:
    """What is wrong with a trace, whose counters may have these units; empty if nothing is."""
    events: list[Event] = trace["traceEvents"]
    wrong = [f"{e}: {what}" for e in events for what in _of_one(e, units)]
    timed = [e for e in events if e["ph"] != "M"]
    if events != [e for e in events if e["ph"] == "M"] + timed:
        wrong.append("names come after what they name")
    if [e["ts"] for e in timed] != sorted(e["ts"] for e in timed):
        wrong.append("events are out of order")
    return wrong + _unnamed(events) + _badly_nested(timed)


def _of_one(event: Event, units: set[str]) -> list[str]:
    kind = event.get("ph")
    if kind not in KEYS:
        return [f"unknown ph {kind!r}"]
    if set(event) != ALWAYS | KEYS[kind]:
        return [f"keys {sorted(event)}"]
    wrong = [
        f"{key} is {event[key]!r}"
        for key in ("ts", "dur", "pid", "tid")
        if key in event and not (type(event[key]) is int and event[key] >= 0)
    ]
    if not isinstance(event["name"], str) or not event["name"]:
        wrong.append("no name")
    if not isinstance(event["args"], dict):
        return [*wrong, "args is no object"]
    if kind == "i" and event["s"] not in ("g", "p", "t"):
        wrong.append(f"scope {event['s']!r}")
    if kind == "C":
        wrong += _of_counter(event["args"], units)
    if kind == "M":
        key, of = METADATA.get(event["name"], ("", str))
        if set(event["args"]) != {key} or type(event["args"][key]) is not of:
            wrong.append("metadata that says nothing")
    return wrong


def _of_counter(values: dict[str, Any], units: set[str]) -> list[str]:
    wrong = [] if values else ["a counter without a value"]
    for unit, value in values.items():
        if unit not in units:
            wrong.append(f"unit {unit!r}")
        if type(value) not in (int, float) or not math.isfinite(value):
            wrong.append(f"value {value!r}")
    return wrong


def _unnamed(events: list[Event]) -> list[str]:
    named = {e["pid"] for e in events if e["name"] == "process_name"}
    threads = [(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"]
    numbers = [tid for _, tid in threads]
    wrong = [] if len(set(numbers)) == len(numbers) else ["two threads of one number"]
    wrong += [f"process {e['pid']} has no name" for e in events if e["pid"] not in named]
    return wrong + [
        f"thread {e['tid']} has no name"
        for e in events
        if e["ph"] in "Xi" and (e["pid"], e["tid"]) not in threads
    ]


def _badly_nested(events: list[Event]) -> list[str]:
    """Slices of one thread that overlap without one holding the other, in the order given."""
    wrong = []
    open_ends: dict[tuple[int, int], list[int]] = defaultdict(list)
    for event in events:
        if event["ph"] != "X":
            continue
        ends = open_ends[event["pid"], event["tid"]]
        while ends and ends[-1] <= event["ts"]:
            ends.pop()
        end = event["ts"] + event["dur"]
        if ends and end > ends[-1]:
            wrong.append(f"{event} does not nest")
        ends.append(end)
    return wrong
