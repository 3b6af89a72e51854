"""Options far beyond what any machine has: a line that says the bound, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import in_process

from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.memory import check_memory
from blobdiag.targets.builtin.weights import check_workload

HUGE = str(10**30)
REPORT = Path(__file__).parents[3] / "reports/reference/20261124T165054Z-iteration-cpu.json"
LONG = "x" * 300

REFUSED: dict[str, tuple[list[str], str]] = {
    "lanes": (["check-gpu", "--lanes", HUGE], "--lanes must be at most 1,000,000"),
    "threads": (["check-gpu", "--threads", HUGE], "--threads must be at most 1,024"),
    "workers": (["check-gpu", "--workers", HUGE], "--workers must be at most 1,024"),
    "seed": (["check-gpu", "--seed", HUGE], "--seed must be from -4,611"),
    "negative seed": (["check-gpu", "--seed", f"-{HUGE}"], "--seed must be from -4,611"),
    "network": (["check-gpu", "--network", "99999999-1-1-1"], "--network must have at most 65,536"),
    "layers": (["check-gpu", "--network", "64-9999-1-64"], "--network must have at most 65,536"),
    "digits of a network": (["check-gpu", "--network", "9" * 5_000], "--network must have at most"),
    "games": (["check-gpu", "--games", HUGE], "--games must be at most 1,000,000,000"),
    "window": (["check-gpu", "--min-seconds", "1e300"], "--min-seconds must be above 0 and below"),
    "timeout": (["check-gpu", "--timeout", "1e300"], "--timeout must be above 0 and below"),
    "stall": (["check-gpu", "--stall-seconds", "1e300"], "--stall-seconds must be above 0 and"),
    "search": (["check-gpu", "--determinizations", HUGE], "--determinizations must be at most"),
    "simulations": (["check-gpu", "--simulations", HUGE], "--simulations must be from 1 to 32,000"),
    "cards": (["check-gpu", "--cards", HUGE], "cards must be 1 to 13"),
    "players": (["check-gpu", "--players", HUGE], "players must be 3 to 8"),
    "dose": (["check-gpu", "--inject", f"tiny-batches:{HUGE}"], "at most 1,000,000"),
    "reuse": (["compare", "--reuse", "1e308"], "--reuse must be above 0 and below 10,000"),
    "plan": (["iteration", "--plan-games", HUGE], "--plan-games must be at most"),
    "plan of iterations": (["iteration", "--plan-iterations", HUGE], "--plan-iterations must be"),
    "iterations": (["iteration", "--iterations", HUGE], "--iterations must be at most 1,000,000"),
    "learning rate": (["iteration", "--learning-rate", "1e300"], "--learning-rate must be above"),
    "matches": (["iteration", "--evaluate-every", HUGE], "--evaluate-every must be at most"),
    "deals": (["evaluate", "random", "--deals", HUGE], "--deals must be at most 10,000,000"),
    "match threads": (["evaluate", "random", "--threads", HUGE], "--threads must be at most"),
    "tuning": (["tune", "--seconds", "1e300"], "--seconds must be above 0 and below"),
    "schedule": (["iteration", "--schedule", f"games=1..{HUGE}"], "--schedule 'games=1.."),
    "output": (["check-gpu", "--output", f"{LONG}.json"], "File name too long"),
    "run's output": (["run", "--output", f"{LONG}.json", "--", "true"], "File name too long"),
    "run folder": (["iteration", "--run-dir", LONG], "File name too long"),
    "checkpoint": (["check-gpu", "--checkpoint", LONG], "File name too long"),
    "count": (["run", "--count-every", HUGE, "--", "true"], "--count-every must be at most"),
    "run's time": (["run", "--timeout", "1e300", "--", "true"], "--timeout must be above 0 and"),
    "card": (["plan", str(REPORT), "--card-gb", "1e300"], "--card-gb must be above 0 and below"),
    "price": (["plan", str(REPORT), "--price-per-hour", "1e308"], "--price-per-hour must be from"),
    "energy": (["plan", str(REPORT), "--price-per-kwh", "1e308"], "--price-per-kwh must be from"),
    "reuse of a plan": (["plan", str(REPORT), "--reuse", "1e308"], "--reuse must be above 0 and"),
    "days": (["plan", str(REPORT), "--days", "1e308"], "--days must be above 0 and below"),
    "speed": (["plan", str(REPORT), "--examples-per-second", "1e300"], "--examples-per-second"),
    "games of a plan": (["plan", str(REPORT), "--games", "9" * 12], "--games must be a number"),
    "plan's output": (["plan", str(REPORT), "--output", LONG], "File name too long"),
    "page": (["report", "html", str(REPORT), "--output", LONG], "File name too long"),
    "trace": (["report", "trace", str(REPORT), "--output", LONG], "File name too long"),
    "report": (["report", "show", LONG], "File name too long"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_extreme_option_is_a_line(case: str, tmp_path: Path) -> None:
    arguments, words = REFUSED[case]
    ended = in_process(tmp_path, *arguments)
    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (2, 1), ended.stderr
    assert words in lines[0]
    assert len(lines[0]) <= 320
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "asked",
    [
        {"lanes": 1_000_000},
        {"workers": 1_024, "lanes": 10_000},
        {"threads": 1_024, "simulations": 32_000},
        {"network": "65536-1000-1-65536"},
        {"simulations": 32_000, "determinizations": 1_000},
        {"workers": 1_024},
    ],
    ids=str,
)
def test_what_memory_cannot_hold_is_refused(asked: dict[str, object]) -> None:
    settings = Settings(device="cpu", **asked)  # type: ignore[arg-type]
    settings.check()
    with pytest.raises(UserError, match=r"need [\d,.]+ GB of memory, and this machine has 32\.0"):
        check_memory(settings, available=32e9)


def test_what_it_can_hold_is_not() -> None:
    check_workload(Settings(device="cpu"))
    check_memory(Settings(device="cpu", workers=8, lanes=1_000), available=32e9)
