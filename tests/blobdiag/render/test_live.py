"""The live view: a few lines a terminal can hold, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from blobdiag.render import live
from blobdiag.render.live import LOG_SECONDS, LiveView, Meter, Readings, in_words

WIDTH = 80
CPU_97 = [[Meter("CPU", 97.4, "%")]]


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


def nothing() -> list[list[Meter]]:
    return []


def two_workers() -> str:
    return "workers 2 playing · 0 lost"


def in_a_log(readings: Readings = nothing, quiet: bool = False) -> tuple[LiveView, StringIO]:
    stream = StringIO()
    return LiveView(Console(file=stream, width=WIDTH), quiet, readings, two_workers), stream


def on_a_terminal(
    readings: Readings = nothing, quiet: bool = False, width: int = WIDTH
) -> tuple[LiveView, StringIO]:
    stream = StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=True,
        force_interactive=True,
        legacy_windows=False,
        _environ={},
    )
    return LiveView(console, quiet, readings, two_workers), stream


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
    view, stream = in_a_log(lambda: CPU_97)
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
        "self-play on cpu · 25 of 100 games · 150 games/min · 30 s left · "
        "workers 2 playing · 0 lost · CPU 97 %"
    ]


def test_a_match_says_against_whom_and_a_training_when_it_ends(clock: Clock) -> None:
    view, stream = in_a_log(lambda: CPU_97)
    with view:
        view.phase("evaluation, iteration 2 of 90")
        view.ends_at = clock.now + 5400 + LOG_SECONDS
        clock.now += LOG_SECONDS
        view.progress(20, 100, "games", against="rules")
    line = stream.getvalue().splitlines()[-1]
    assert "20 of 100 games against rules · " in line
    assert "all done in about 90 min" in line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 hours"), (270_000, "3.1 days")],
)
def test_times_have_a_fitting_unit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_without_a_known_end_no_time_left_is_made_up(clock: Clock) -> None:
    view, stream = in_a_log()
    with view:
        view.phase("warm-up on cpu")
        view.progress(0, None, "games")
        clock.now += 10
        view.progress(1_500, None, "games")
    [_, line] = seen_lines(stream)
    assert line.startswith("warm-up on cpu · 1,500 games · 9,000 games/min · workers")


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
    counted = [line.partition(" · workers")[0] for line in seen_lines(stream)[2:]]
    assert counted == [
        "self-play on cpu · 10 games · 60 games/min",
        "training …",
        "training · 1 steps",
    ]


def test_a_window_lasts_until_both_its_games_and_its_seconds_are_reached(clock: Clock) -> None:
    view, stream = in_a_log()
    with view:
        view.phase("self-play on cpu")
        view.progress(0, 20, "games", 60)
        clock.now += 10
        view.progress(1, 20, "games", 60)
        clock.now += 10
        view.progress(30, 20, "games", 60)
        clock.now += 50
        view.progress(90, 20, "games", 60)
    left = [re.findall(r"(\d+) s left", line) for line in seen_lines(stream)[1:]]
    assert left == [["190"], ["40"], []]


@pytest.mark.parametrize("made", [in_a_log, on_a_terminal])
def test_quiet_is_silent(made: type, clock: Clock) -> None:
    view, stream = made(lambda: CPU_97, quiet=True)
    with view:
        view.phase("self-play on cpu")
        view.progress(1, 2, "games")
        clock.now += 10 * LOG_SECONDS
        view.progress(2, 2, "games")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("made", [in_a_log, on_a_terminal])
def test_an_unknown_reading_is_a_dash_and_a_known_zero_a_zero(made: type, clock: Clock) -> None:
    gpu = [Meter("GPU", None, "%"), Meter("VRAM", None, "GiB", 80.0)]
    view, stream = made(lambda: [gpu, [Meter("CPU", 0.0, "%")]])
    with view:
        view.phase("self-play on cuda")
        clock.now += LOG_SECONDS
        view.progress(1, 2, "games")
    shown = re.sub(r"[ ·┄]+", " ", " ".join(seen_lines(stream)))
    assert "GPU – VRAM – CPU 0 %" in shown


@pytest.mark.parametrize("width", [30, 80, 120])
def test_no_line_is_wider_than_the_terminal(clock: Clock, width: int) -> None:
    """Eight GPUs have a line each; where even one does not fit, lines end in an ellipsis."""
    readings = [
        [Meter(f"GPU {i}", 12.5 * i, "%"), Meter("VRAM", 10.0 * i, "GiB", 80.0)] for i in range(8)
    ]
    view, stream = on_a_terminal(lambda: readings, width=width)
    with view:
        view.phase("self-play on cuda")
        view.progress(0, 1_000_000, "games")
        clock.now += 10
        view.progress(250_000, 1_000_000, "games")
    lines = seen_lines(stream)
    assert all(cell_len(line) <= width for line in lines)
    assert any(line.endswith("…") for line in lines[-10:]) == (width == 30)
    if width > 30:
        [name, bar, facts, *gpus] = lines[-11:]
        assert name.endswith("10 s · 30 s left")
        assert bar.count("━") == pytest.approx(bar.count("┄") / 3, abs=1)
        assert facts.strip().startswith("250,000 of 1,000,000 games · 1,500,000 games/min")
        assert [line.split()[1] for line in gpus] == [str(i) for i in range(8)]
        assert gpus[4].count("━") == gpus[4].count("┄")


def test_a_terminal_is_left_as_it_was(clock: Clock) -> None:
    """The cursor comes back, and the line goes: what follows is the report."""
    view, stream = on_a_terminal()
    view.phase("self-play on cpu")
    with pytest.raises(KeyboardInterrupt), view:
        raise KeyboardInterrupt
    text = stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.endswith("\x1b[2K")


WATCHED = """
from blobdiag.render.live import LiveView, Meter, console_on_stderr
readings = lambda: [[Meter("CPU", 50.0, "%")]]
with LiveView(console_on_stderr(), False, readings, lambda: "") as view:
    view.phase("self-play on cpu")
    view.progress(1, 2, "games")
"""


def on_stderr(terminal: bool, **environment: str) -> str:
    """What a process writes on a stderr that is a terminal, or else a pipe."""
    named = ("CI", "NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "TTY_INTERACTIVE")
    inherited = {name: value for name, value in os.environ.items() if name not in named}
    ours, theirs = pty.openpty() if terminal else os.pipe()
    program = subprocess.Popen(
        [sys.executable, "-c", WATCHED],
        env=inherited | {"TERM": "xterm-256color"} | environment,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 4096):
            written += part
    except OSError:
        pass  # a terminal whose other side is closed
    os.close(ours)
    assert program.wait() == 0
    return written.decode()


PLAIN = {
    "a file": (False, {}),
    "a file in forced colours": (False, {"FORCE_COLOR": "1"}),
    "a terminal of CI": (True, {"CI": "true"}),
    "a dumb terminal": (True, {"TERM": "dumb"}),
}


@pytest.mark.parametrize(("terminal", "environment"), PLAIN.values(), ids=PLAIN.keys())
def test_without_a_terminal_there_are_plain_lines(
    terminal: bool, environment: dict[str, str]
) -> None:
    text = on_stderr(terminal, **environment)
    assert text.splitlines() == ["self-play on cpu …"]
    assert "\x1b" not in text


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_watched_terminal_is_redrawn_and_coloured_if_it_may_be(
    environment: dict[str, str], coloured: bool
) -> None:
    text = on_stderr(True, **environment)
    assert "\x1b[2K" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert bool(re.search(r"\x1b\[(\d+;)*[39]\dm", text)) == coloured
    # Without colours a bar can be read all the same.
    assert "━┄" in re.sub(r"\x1b\[[0-9;]*m", "", text)
