"""The catalogue of causes: it finds its modules by itself, and the documentation lists them."""

from pathlib import Path

import pytest

from blobdiag.diagnosis import causes
from blobdiag.diagnosis.causes import CATALOGUE
from blobdiag.diagnosis.causes._table import table

DOCUMENT = Path(__file__).parents[3] / "docs" / "diagnosis.md"
BEGIN, END = "<!-- causes: begin -->\n", "<!-- causes: end -->\n"


def test_each_module_has_a_cause_and_each_cause_a_module() -> None:
    folder = Path(causes.__file__).parent
    modules = [path.stem for path in folder.glob("*.py") if not path.name.startswith("_")]
    assert len(CATALOGUE) == len(modules)
    assert all(name == cause.name for name, cause in CATALOGUE.items())


def test_a_new_module_is_a_new_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new.py").write_text(
        "from blobdiag.diagnosis.causes._cause import Cause\n"
        "CAUSE = Cause('new', 1, 'what', 'how', in_engine=lambda report: None)\n"
    )
    (tmp_path / "_helper.py").write_text("raise AssertionError('it is no cause')\n")
    monkeypatch.setattr(causes, "__path__", [*causes.__path__, str(tmp_path)])
    assert list(causes._catalogue()) == ["new", *CATALOGUE]


def test_each_cause_says_what_it_is_and_can_be_found() -> None:
    assert len({cause.rank for cause in CATALOGUE.values()}) == len(CATALOGUE)
    for cause in CATALOGUE.values():
        assert cause.in_engine or cause.in_program, cause.name
        for text in (cause.summary, cause.seen_as):
            assert text
            assert not text.endswith("."), cause.name
            assert "|" not in text, cause.name


def test_the_documented_table_is_the_catalogue_s() -> None:
    """Written anew by `python -m blobdiag.diagnosis.causes`."""
    documented = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]
    assert documented.strip() == table()
