"""`tune` and `--tuned`: measured here, kept per user, used on request."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from command_line import in_process

from blobdiag.cli.explaining import chain_table, stage_table
from blobdiag.measure.explain import Chain
from blobdiag.measure.tune import Candidate, Sweep
from blobdiag.measure.tuned_for import hardware
from blobdiag.model.errors import UserError
from blobdiag.model.report_files import read_report
from blobdiag.model.settings import Settings
from blobdiag.store.tuned import Tuned, load_tuned, save_tuned, tuned_file, with_tuned
from blobdiag.targets.builtin import chain, probing
from blobdiag.targets.builtin import sweep as sweep_module
from blobdiag.targets.builtin.sweep import candidates, lane_grid
from engine.network.blobnet import NetworkConfig, build_network

SMALL = [
    "--network",
    "32-2-4-64",
    "--simulations",
    "6",
    "--determinizations",
    "2",
    "--device",
    "cpu",
]

HERE = hardware("cpu")


@pytest.fixture
def settings() -> Settings:
    return Settings(network="32-2-4-64", simulations=6, determinizations=2, tuned=True)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def sweep(**changes: Any) -> Sweep:
    """One that has measured nothing."""
    network = build_network(NetworkConfig(32, 2, 4, 64), "cpu")
    made = SimpleNamespace(settings=Settings(**changes), network=network, device="cpu")
    return cast(Sweep, made)


def test_what_is_not_asked_for_is_varied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "usable_cores", lambda: 4)
    found = list(candidates(sweep()))
    # Which dtypes are worth a try is measured, too.
    dtypes = {candidate.dtype for candidate in found}
    assert dtypes in ({"float32"}, {"float32", "bfloat16"})
    shapes = ((4, 1), (1, 4))
    assert set(found) == {Candidate(*s, sweep_module.CPU_LANES, d) for s in shapes for d in dtypes}
    assert lane_grid(sweep()) == [sweep_module.CPU_LANES * n // 4 for n in (1, 2, 4, 8, 16)]
    told = sweep(workers=3, threads=2, lanes=10, dtype="float32")
    assert list(candidates(told)) == [Candidate(3, 2, 5, "float32")]
    assert lane_grid(told) == []


@pytest.mark.slow
def test_tune_recommends_and_tuned_obeys(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (sweep_module, "SHORTEST_SECONDS", 0.25),
        (sweep_module, "SETTLE_SECONDS", 0.25),
        (sweep_module, "FINAL_ROUNDS", 2),
        (probing, "SECONDS", 0.1),
    ):
        monkeypatch.setattr(module, name, value)
    threads_and_dtype = ("--threads", "1", "--dtype", "float32")
    tuned = in_process(config, "tune", *SMALL, *threads_and_dtype, "--seconds", "3")
    assert tuned.returncode == 0, tuned.stderr
    assert "recommended →" in tuned.stdout
    assert "games/min" in tuned.stdout
    assert "mean batch" in tuned.stdout
    flags = next(line for line in tuned.stdout.splitlines() if line.startswith("use: "))
    kept = json.loads((config / "blobdiag" / "tuned.json").read_text())
    (entry,) = kept.values()
    assert f"--lanes {entry['lanes']} --dtype {entry['dtype']}" in flags
    assert entry["games_per_minute"] > 0

    used = in_process(config, "compare", *SMALL, "--tuned", "--min-seconds", "1", "--games", "5")
    assert used.returncode == 0, used.stderr
    assert f"tuned: --workers {entry['workers']}" in used.stderr
    report = read_report(config / used.stdout.splitlines()[-1])
    (throughput,) = report.throughput
    assert throughput.workers == entry["workers"]
    assert throughput.lanes == entry["workers"] * entry["lanes"]
    assert throughput.dtype == entry["dtype"]


@pytest.mark.slow
def test_explain_prints_both_tables(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "SHORT_SECONDS", 0.1)
    monkeypatch.setattr(chain, "TREES_SECONDS", 0.5)
    shown = in_process(config, "tune", *SMALL, "--explain", "--seconds", "4", "--lanes", "8")
    assert shown.returncode == 0, shown.stderr
    for words in ("Where a second goes", "network", "self-play ÷ bare", "evaluations a game"):
        assert words in shown.stdout


def test_without_a_tuned_setting_it_says_what_to_run(config: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="blobdiag tune"):
        with_tuned(settings, "cpu", HERE)


def test_what_was_kept_comes_back_for_this_machine_only(config: Path, settings: Settings) -> None:
    tuned = Tuned(2, 1, 32, "float32", 123.0)
    assert save_tuned(settings, "cpu", tuned, HERE) == tuned_file()
    assert load_tuned(settings, "cpu", HERE) == tuned
    chosen = with_tuned(settings, "cpu", HERE)
    assert (chosen.workers, chosen.threads, chosen.lanes, chosen.dtype) == (2, 1, 32, "float32")
    kept = json.loads(tuned_file().read_text())
    tuned_file().write_text(json.dumps({"another machine": next(iter(kept.values()))}))
    with pytest.raises(UserError):
        load_tuned(settings, "cpu", HERE)


def test_a_broken_file_is_one_line(config: Path, settings: Settings) -> None:
    tuned_file().parent.mkdir(parents=True)
    tuned_file().write_text("{")
    with pytest.raises(UserError, match=r"tuned\.json cannot be read"):
        load_tuned(settings, "cpu", HERE)


def test_the_tables_add_up() -> None:
    bare, played = [20_000.0] * 3, [18_000.0] * 3
    chain = Chain(2e11, 7_000_000, bare, 192, 5e5, False, played, 0.98, 1100.0, 72.0)
    assert chain.games_per_minute == pytest.approx(60 * 18_000 / 1100)
    rows = [str(cell) for column in chain_table(chain).columns for cell in column.cells]
    assert "0.70" in rows
    assert "0.90" in rows
    stages = {"network": 8.0, "select": 1.0, "expand": 0.5, "copy": 0.2, "wait": 0.0}
    table = stage_table({**stages, "idle": 0.0, "python": 0.3}, 100_000, 1e-6)
    shares = [float(str(cell).split()[0]) for cell in table.columns[1].cells]
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("options", [[], ["--explain"]])
def test_a_gpu_that_is_not_there_is_one_line(tmp_path: Path, options: list[str]) -> None:
    ended = in_process(tmp_path, "tune", "--device", "cuda:99", *options)
    assert ended.returncode == 2
    assert "cuda:99 is not available" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
