"""The live view: a line a terminal can hold, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from blobdiag.reporting import live
from blobdiag.reporting.live import LOG_SECONDS, LiveView, Reading

WIDTH = 80


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(live, "monotonic", made)
    return made


def nothing() -> list[tuple[str, float | None, str]]:
    return []


def in_a_log(reading: Reading = nothing, quiet: bool = False) -> tuple[LiveView, StringIO]:
    stream = StringIO()
    return LiveView(Console(file=stream, width=WIDTH), quiet, reading), stream


def on_a_terminal(reading: Reading = nothing, quiet: bool = False) -> tuple[LiveView, StringIO]:
    stream = StringIO()
    console = Console(file=stream, width=WIDTH, force_terminal=True, legacy_windows=False)
    return LiveView(console, quiet, reading), stream


def seen_lines(stream: StringIO) -> list[str]:
    """What was drawn, redrawn lines one by one, without the codes that move the cursor."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_a_log_has_a_plain_line_for_each_phase_at_once() -> None:
    view, stream = in_a_log()
    with view:
        view.phase("start-up on cpu")
        assert stream.getvalue() == "start-up on cpu …\n"
        view.phase("self-play on cpu")
    assert stream.getvalue() == "start-up on cpu …\nself-play on cpu …\n"


def test_a_log_has_a_line_of_progress_now_and_then(clock: Clock) -> None:
    view, stream = in_a_log(lambda: [("CPU", 97.4, "%")])
    with view:
        view.phase("self-play on cpu")
        view.progress(0, 100, "games")
        clock.now += LOG_SECONDS - 1
        view.progress(20, 100, "games")
        assert len(stream.getvalue().splitlines()) == 1
        clock.now += 1
        view.progress(25, 100, "games")
        view.progress(26, 100, "games")
    assert stream.getvalue().splitlines()[1:] == [
        "self-play on cpu · 25 of 100 games · 300 games/min · 15 s left · CPU 97 %"
    ]


def test_without_a_known_end_no_time_left_is_made_up(clock: Clock) -> None:
    view, stream = in_a_log()
    with view:
        view.phase("warm-up on cpu")
        view.progress(0, None, "games")
        clock.now += 10
        view.progress(1_500, None, "games")
    assert seen_lines(stream)[1] == "warm-up on cpu · 1,500 games · 9,000 games/min"


def test_a_rate_starts_again_with_its_phase_and_its_count(clock: Clock) -> None:
    """A phase that follows, or a count that starts at 0 again, owes nothing to what was before."""
    view, stream = in_a_log()
    with view:
        view.phase("self-play on cpu")
        view.progress(0, None, "games")
        clock.now += 10
        view.progress(1_000, None, "games")
        view.progress(0, None, "games")
        clock.now += 10
        view.progress(10, None, "games")
        view.phase("training")
        clock.now += 10
        view.progress(1, None, "steps")
    assert seen_lines(stream)[2:] == [
        "self-play on cpu · 10 games · 60 games/min",
        "training …",
        "training · 1 steps",
    ]


@pytest.mark.parametrize("made", [in_a_log, on_a_terminal])
def test_quiet_is_silent(made: type, clock: Clock) -> None:
    view, stream = made(lambda: [("CPU", 1.0, "%")], quiet=True)
    with view:
        view.phase("self-play on cpu")
        view.progress(1, 2, "games")
        clock.now += 10 * LOG_SECONDS
        view.progress(2, 2, "games")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("made", [in_a_log, on_a_terminal])
def test_an_unknown_reading_is_a_dash_and_a_known_zero_a_zero(made: type, clock: Clock) -> None:
    view, stream = made(lambda: [("GPU", None, "%"), ("VRAM", None, "GiB"), ("CPU", 0.0, "%")])
    with view:
        view.phase("self-play on cuda")
        clock.now += LOG_SECONDS
        view.progress(1, 2, "games")
    last = seen_lines(stream)[-1]
    assert "self-play on cuda · 1 of 2 games · GPU – · VRAM – · CPU 0 %" in last
    assert "GPU 0" not in last


def test_a_terminal_shows_one_line_no_wider_than_it_is(clock: Clock) -> None:
    """Eight GPUs do not fit into 80 columns: the line ends in an ellipsis."""
    view, stream = on_a_terminal(lambda: [(f"GPU {i}", 100.0, "%") for i in range(8)])
    with view:
        view.phase("self-play on cuda")
        clock.now += 10
        view.progress(123_456, 1_000_000, "games")
    lines = seen_lines(stream)
    assert lines
    assert all(cell_len(line) <= WIDTH for line in lines)
    assert lines[-1].endswith("…")
    assert "self-play on cuda · 123,456 of 1,000,000 games" in lines[-1]


def test_a_terminal_is_left_as_it_was(clock: Clock) -> None:
    """The cursor comes back, and the line goes: what follows is the report."""
    view, stream = on_a_terminal()
    view.phase("self-play on cpu")
    with pytest.raises(KeyboardInterrupt), view:
        raise KeyboardInterrupt
    text = stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.endswith("\x1b[2K")
