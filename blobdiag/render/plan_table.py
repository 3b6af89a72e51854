"""`blobdiag plan` drawn for the terminal: a column for each machine. Pure drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blobdiag.model.base import Metric
from blobdiag.model.capacity import CapacityPlan, Fit, MachinePlan, Memory
from blobdiag.model.figures import figure, figure_range
from blobdiag.render.words import printable

UNKNOWN = "not known"


def render(made: CapacityPlan, console: Console) -> None:
    """Draw the plan, what it rests on, rates for comparison, and the memory."""
    games = f"{made.first_games:,}"
    if made.last_games != made.first_games:
        games += f" to {made.last_games:,} (growing evenly)"
    head = f"{made.iterations:,} iterations of {games} games, reuse {made.reuse:g}"
    console.print(Text(head, style="bold"))
    console.print()
    console.print(_machines(made.machines))
    for number, machine in enumerate(made.machines):
        for line in [f"broken rule, {rule}" for rule in machine.broken_rules] + machine.notes:
            console.print(_text(f"{_mark(number, made.machines)}{line}"))
    console.print()
    console.print(_scenarios(made))
    for number, machine in enumerate(made.machines):
        console.print()
        console.print(_memory(machine, _mark(number, made.machines)))


def _machines(machines: Sequence[MachinePlan]) -> Table:
    table = _table(None)
    table.add_column("")
    for number, machine in enumerate(machines):
        head = f"{_mark(number, machines)}{machine.machine}\n{machine.device}"
        table.add_column(_text(head), justify="right", overflow="fold")
    for name, cell in _ROWS:
        table.add_row(name, *(_text(cell(machine)) for machine in machines))
    table.add_section()
    for name in dict.fromkeys(term.name for m in machines for term in m.plan.terms):
        table.add_row(_text(f"{name}: min"), *(_text(_term(m, name)) for m in machines))
    table.add_section()
    table.add_row("energy", *(_text(_metric(m.energy)) for m in machines))
    for k in range(max(len(m.costs) for m in machines)):
        names = list(dict.fromkeys(m.costs[k].name for m in machines))
        single = len(names) == 1
        table.add_row(
            _text(names[0] if single else "cost by the hour"),
            *(_text(_metric(m.costs[k])) for m in machines),
        )
    if any(m.needed for m in machines):
        table.add_section()
        days = next(m.needed.days for m in machines if m.needed)
        table.add_row(f"games/min for {figure(days)} days", *(_text(_needed(m)) for m in machines))
    return table


def _days(machine: MachinePlan) -> str:
    trains = any(term.name == "training" for term in machine.plan.terms)
    marks = ["invalid"] * bool(machine.broken_rules) + ["self-play only"] * (not trains)
    return figure(machine.plan.days) + (f" ({', '.join(marks)})" if marks else "")


def _interval(machine: MachinePlan) -> str:
    plan = machine.plan
    if plan.days_interval is None:
        return f"{UNKNOWN} ({plan.interval_reason or 'no reason given'})"
    return figure_range(plan.days_interval)


def _minutes(machine: MachinePlan) -> str:
    minutes = figure(machine.plan.minutes_per_iteration)
    if machine.growth is None:
        return minutes
    return f"{minutes} ({figure(machine.growth.first)} to {figure(machine.growth.last)})"


_ROWS: list[tuple[str, Callable[[MachinePlan], str]]] = [
    ("report", lambda m: m.report),
    ("by", lambda m: f"{m.command}, {m.started_utc}"),
    ("its verdict", lambda m: m.verdict),
    ("days", _days),
    ("  by the rates' 95 % intervals", _interval),
    ("min an iteration", _minutes),
]


def _term(machine: MachinePlan, name: str) -> str:
    """A term's minutes, its share, and the days without it (Amdahl)."""
    found = next((term for term in machine.plan.terms if term.name == name), None)
    if found is None:
        return "not in the plan"
    left = figure(machine.plan.days - found.days_saved_if_free)
    return (
        f"{figure(found.minutes)} · {100 * found.share:.0f} %\n{left} days if free\n{found.formula}"
    )


def _metric(metric: Metric) -> str:
    if metric.value is None:
        return f"{UNKNOWN} ({metric.reason})"
    unit = f" {metric.unit}" if metric.unit else ""
    reason = f" ({metric.reason})" if metric.reason else ""
    return f"{figure(metric.value)}{unit}{reason}"


def _needed(machine: MachinePlan) -> str:
    needed = machine.needed
    if needed is None or needed.games_per_minute is None:
        return UNKNOWN if needed is None else needed.reason or UNKNOWN
    times = "" if needed.factor is None else f" ({figure(needed.factor)} × as measured)"
    return f"{figure(needed.games_per_minute)}{times}"


def _scenarios(made: CapacityPlan) -> Table:
    table = _table("For comparison: days at assumed rates")
    table.add_column("scenario")
    table.add_column("games/min", justify="right")
    table.add_column("days", justify="right")
    table.add_column("assuming", overflow="fold")
    for one in made.scenarios:
        row = (one.name, figure_range(one.games_per_minute), figure_range(one.days), one.assumption)
        table.add_row(*map(_text, row))
    return table


def _memory(machine: MachinePlan, mark: str) -> Table | Text:
    memory = machine.memory
    if memory is None:
        return _text(f"{mark}Memory {UNKNOWN}: {machine.memory_reason}")
    table = _table(f"{mark}Memory of a card")
    table.add_column("term")
    table.add_column("MiB", justify="right")
    table.add_column("formula", overflow="fold")
    for term in memory.terms:
        table.add_row(_text(term.name), figure(term.mib), _text(term.formula))
    table.add_section()
    table.add_row(
        "all of it", figure(memory.total_mib), f"batches of {memory.rows_per_batch:,} rows"
    )
    table.add_row(_text(memory.host.name), figure(memory.host.mib), _text(memory.host.formula))
    if memory.fit is not None:
        table.add_row("largest that fits", "", _fit(memory.fit))
    host = f"{memory.host_lanes:,} lanes in all"
    table.add_row("the host's memory holds", "", host)
    return _with_caption(table, memory)


def _fit(fit: Fit) -> str:
    if fit.rows_per_batch is None or fit.lanes_per_worker is None:
        return f"none on {fit.card_gb:g} GB: {fit.reason}"
    return (
        f"{fit.card_gb:g} GB: batches of {fit.rows_per_batch:,} rows, "
        f"{fit.lanes_per_worker:,} lanes a worker"
    )


def _with_caption(table: Table, memory: Memory) -> Table:
    if memory.assumptions:
        table.caption = _text("assumed: " + "; ".join(memory.assumptions))
        table.caption_justify = "left"
    return table


def _mark(number: int, machines: Sequence[MachinePlan]) -> str:
    return f"[{number + 1}] " if len(machines) > 1 else ""


def _table(title: str | None) -> Table:
    return Table(
        title=None if title is None else _text(title),
        title_justify="left",
        title_style="bold underline",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )


def _text(value: str) -> Text:
    """A report's own words: neither markup nor a control character has an effect."""
    return Text(printable(value))
