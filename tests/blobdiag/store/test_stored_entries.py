"""What is stored per user is read within bounds: a wrong entry is one line, never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from blobdiag.cli.report_html import check_replaceable
from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from blobdiag.model.tuned_for import Hardware
from blobdiag.store.files import read_entries, store_file, write_entry
from blobdiag.store.spread import load_spreads
from blobdiag.store.tuned import FILE, Tuned, load_tuned, save_tuned

HERE = Hardware(*["here"] * len(Hardware._fields))
GOOD = Tuned(2, 1, 32, "float32", 100.0)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 1e308},
        {"threads": 10**400},
        {"threads": 0},
        {"threads": True},
        {"workers": "2"},
        {"lanes": -1},
        {"lanes": 1.5},
        {"dtype": "float16"},
        {"dtype": ["float32"]},
        {"games_per_minute": float("nan")},
        {"games_per_minute": -1},
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_one_line(change: dict[str, Any]) -> None:
    path = save_tuned(Settings(), "cpu", GOOD, HERE)
    assert load_tuned(Settings(), "cpu", HERE) == GOOD
    [key] = read_entries(FILE)
    write_entry(FILE, key, {**GOOD._asdict(), **change})
    with pytest.raises(UserError, match=next(iter(change))) as raised:
        load_tuned(Settings(), "cpu", HERE)
    assert "\n" not in str(raised.value)
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("entry", [[], 5, "x", None, {}, {"a": 1}, [[[]]]], ids=str)
def test_an_entry_of_another_type_is_one_line(entry: Any) -> None:
    save_tuned(Settings(), "cpu", GOOD, HERE)
    [key] = read_entries(FILE)
    write_entry(FILE, key, entry)
    with pytest.raises(UserError, match="holds no valid setting"):
        load_tuned(Settings(), "cpu", HERE)


@pytest.mark.parametrize(
    "entry",
    [
        5,
        [1],
        {"x": 5},
        {"x": {"log_sd": 1e308, "freedom": 3}},
        {"x": {"log_sd": 0.1, "freedom": 0}},
        {"x": {"log_sd": "0.1", "freedom": 3}},
        {"x": {"log_sd": 0.1, "freedom": 1e308}},
    ],
    ids=str,
)
def test_a_spread_that_cannot_be_is_one_line(entry: Any) -> None:
    write_entry("spread.json", "good", {"x": {"log_sd": 0.1, "freedom": 3}})
    assert load_spreads("good")["x"].freedom == 3
    write_entry("spread.json", "key", entry)
    with pytest.raises(UserError, match="holds no valid spreads"):
        load_spreads("key")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[]", "holds no entries"),
        ("9" * 5000, "cannot be read"),
        (f'{{"a": "{"x" * 4_000_000}"}}', "more than 4 MB"),
        ("\x00", "cannot be read"),
    ],
    ids=["lists", "objects", "list", "number", "large", "zero"],
)
def test_a_file_that_holds_no_entries_is_one_line(content: str, said: str) -> None:
    write_entry(FILE, "key", {})
    store_file(FILE).write_text(content)
    for work in (lambda: read_entries(FILE), lambda: write_entry(FILE, "key", {})):
        with pytest.raises(UserError, match=said) as raised:
            work()
        assert len(str(raised.value)) < 400
    assert store_file(FILE).read_text() == content


def test_a_pipe_is_not_waited_for() -> None:
    write_entry(FILE, "key", {})
    store_file(FILE).unlink()
    os.mkfifo(store_file(FILE))
    with pytest.raises(UserError, match="no regular file"):
        read_entries(FILE)


def test_a_page_replaces_a_page_and_nothing_else(tmp_path: Path) -> None:
    free, page, report = (tmp_path / name for name in ("new.html", "page.html", "b.json"))
    page.write_text("<!doctype html>\n<html>\n<title>PASS · blobdiag run on cpu</title>")
    report.write_text(json.dumps({"schema_version": 5, "command": "run"}))
    check_replaceable(free)
    check_replaceable(page)
    for text in (report.read_text(), "", "<!doctype html><title>my own</title>", "\x00" * 9000):
        report.write_text(text)
        with pytest.raises(UserError, match="is not replaced"):
            check_replaceable(report)
