"""What the documents say holds: names, ranges, lengths, links, and commands that can be typed."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from blobdiag.cli import app
from blobdiag.diagnosis.expectations import EXPECTATIONS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
EXPECTED = (ROOT / "docs" / "expectations.md").read_text()
SOURCES = [
    path
    for folder in ("blobdiag", "engine")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".html", ".js", ".css")
]
# References to documents that a user cannot open.
UNREACHABLE = re.compile(r"§|bug\s+report,\s+Tests?\s+\d", re.IGNORECASE)


def section(name: str) -> str:
    """The text under `## name`."""
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^##? |\Z)", EXPECTED, re.S | re.M)
    assert found, f"docs/expectations.md has no heading `## {name}`"
    return found[1]


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_each_expectation_has_its_section_with_range_role_and_source(name: str) -> None:
    expectation = EXPECTATIONS[name]
    text = section(name)
    assert text.strip().startswith(f"**{expectation}**, {expectation.role.value}")
    assert "Source: " in text
    [row] = re.findall(rf"^\| \[{name}\]\(#{name}\) \| (.*)$", EXPECTED, re.M)
    assert row.startswith(f"{expectation} | {expectation.role.value}")


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_no_reference_that_a_reader_cannot_open() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}: {match[0]!r}"
        for path in [*PAGES, *SOURCES]
        for text in [path.read_text()]
        for match in UNREACHABLE.finditer(text)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_pages_that_sources_cite_exist() -> None:
    cited = {
        (path, *found)
        for path in SOURCES
        for found in re.findall(r"(docs/[\w-]+\.md)(?:#([\w-]+))?", path.read_text())
    }
    missing = [
        f"{path.relative_to(ROOT)}: {name}#{anchor}"
        for path, name, anchor in sorted(cited)
        if not (ROOT / name).exists() or (anchor and anchor not in anchors(ROOT / name))
    ]
    assert not missing, "\n" + "\n".join(missing)


def test_the_files_that_pages_name_exist() -> None:
    """Those in backticks, as `engine/network/evaluator.py`."""
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in PAGES
        for name in re.findall(
            r"`((?:blobdiag|engine|tests|examples|docs)/[\w/.-]*)`", page.read_text()
        )
        if not (ROOT / name).exists()
    ]
    assert not missing, "\n" + "\n".join(missing)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def typed(page: Path) -> list[str]:
    """The `blobdiag …` commands that a page has people type, in lines of four spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M).replace("\\\n", " ")
    lines = re.findall(r"^    (?! )([^`\n]*)$", text, re.M)
    found = (re.search(r"(?<![\w/-])blobdiag .*", line) for line in lines)
    return [match[0] for match in found if match and "[options]" not in match[0]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_takes_what_pages_have_people_type(page: Path) -> None:
    for line in typed(page):
        words = shlex.split(re.sub(r">>?.*", "", line), comments=True)[1:]
        name = words.pop(0)
        command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        with suppress(typer.Exit):  # --list-injections
            command.make_context(name, words)
