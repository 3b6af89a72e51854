"""The page of a report: complete, escaped, within its size, and the same each time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from healthy_runs import REFERENCE
from scripted_runs import Run
from sick_runs import SICK

import reports
from blobdiag.cli.report_html import html
from blobdiag.model.base import Status
from blobdiag.model.judgement import IdleGap
from blobdiag.model.machine import Gpu, MigInstance
from blobdiag.model.recorded import Event, Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.report_files import ReportError, read_report, write_report
from blobdiag.model.selfplay import Hold
from blobdiag.render.html import page

LIMIT = 1_500_000
GAP = SICK["idle-gap-between-phases"]["between self-play and training"].report()


class Parsed(HTMLParser):
    """Tags with their attributes, and the text by its tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    def within(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag and text.strip()]

    def shown(self) -> str:
        hidden = ("script", "style")
        text = " ".join(text for tag, text in self.texts if tag not in hidden)
        return " ".join(text.split())


def test_sections_are_in_order() -> None:
    report = GAP.model_copy(update={n: getattr(reports.full(), n) for n in ("checks", "findings")})
    report = report.model_copy(update={"events": [Event(at_s=1.0, kind="warning", text="so")]})
    parsed = Parsed(page(report))
    assert parsed.within("h2") == [
        *("Timeline", "Findings", "Checks", "Throughput", "Workers"),
        *("Plan", "Metrics", "Events", "Environment"),
    ]


def test_the_figures_are_those_of_the_terminal() -> None:
    shown = Parsed(page(reports.full())).shown()
    for words in (
        "FAIL workers on the device: 1 of 16 workers are not on cuda",
        "629.8 to 642.5",
        "– (random weights)",
        "needs Hopper or newer",
        "network.to(device) after load_state_dict",
        "3.20 min per iteration, self-play 1.90 × as fast: measured in this run",
        "1.70 days for 500 iterations of 10,000 games",
        "27.8 to 33.6",
        "30 min of training assumed",
        "another process uses the GPU [pid 7]",
        "✕ broken no busy neighbour: others: 1.9 cores (needed ≤ 0.2)",
    ):
        assert words in shown


def test_a_failure_on_invalid_evidence_is_marked() -> None:
    shown = Parsed(page(reports.minimal(checks=[reports.check(Status.FAIL, valid=False)]))).shown()
    assert "✕ FAIL not valid" in shown
    assert "throttling: power cap (needed none)" in shown
    assert "not valid" not in Parsed(page(reports.minimal(checks=[reports.check()]))).shown()


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.json")), ids=lambda path: path.stem)
def test_real_reports(path: Path) -> None:
    report = read_report(path)
    assert report.verdict_text in Parsed(page(report)).shown()


def test_the_same_report_makes_the_same_page() -> None:
    assert page(GAP) == page(GAP)


def test_nothing_is_fetched_and_only_its_own_script_may_run() -> None:
    text = page(GAP)
    urls = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert urls == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # namespaces
    for tag, attributes in Parsed(text).tags:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:,")), tag
    policy = next(a["content"] for t, a in Parsed(text).tags if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "$\\frac{1}{$ {{ 7 * 7 }} {% raw %} <!-- ]]>",
    "\x00\x1b[31m\u202e\u2028 \U0001f4a5 漢字 &lt;",
    "#050005 fill: #050005",
]


@pytest.fixture(scope="module")
def harmless() -> set[tuple[str, str]]:
    """(tag, attribute) of a page of plain words."""
    return _attributes(Parsed(page(_with_words(GAP, "harmless"))))


def _attributes(parsed: Parsed) -> set[tuple[str, str]]:
    return {(tag, name) for tag, attributes in parsed.tags for name in attributes}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_a_report_stay_words(text: str, harmless: set[tuple[str, str]]) -> None:
    source = page(_with_words(GAP, text))
    parsed = Parsed(source)
    # Whether a name fits into a band differs, and with it the text, but never what may act.
    assert _attributes(parsed) <= harmless
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 2
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", source)
    series = json.loads(next(text for tag, text in parsed.texts if tag == "script"))
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    assert series["phases"][2]["name"] == printable
    assert " ".join(printable.split()) in parsed.shown()


def _with_words(report: Report, text: str) -> Report:
    """The report with `text` wherever it holds words of its own."""
    gap = IdleGap(device="GPU-0", start_s=19.0, end_s=21.8, phase=text)
    plan = report.plan
    assert plan is not None
    terms = [term.model_copy(update={"name": text, "formula": text}) for term in plan.terms]
    scenarios = [s.model_copy(update={"name": text, "assumption": text}) for s in plan.scenarios]
    finding, check = reports.full().findings[0], reports.check(name=text)
    return report.model_copy(
        update={
            "device": text,
            "verdict_text": text,
            "configuration": {text: text},
            "gpus": [gpu.model_copy(update={"name": text}) for gpu in report.gpus],
            "phases": [p.model_copy(update={"name": text}) for p in report.phases],
            "holds": [Hold(phase=text, where=text, seconds=2.0, share=0.9)],
            "idle_gaps": [gap],
            "checks": [check.model_copy(update={"observation": text, "evidence": [text]})],
            "findings": [finding.model_copy(update={"title": text, "evidence": [text]})],
            "plan": plan.model_copy(update={"terms": terms, "scenarios": scenarios}),
            "events": [Event(at_s=0.0, kind=text, text=text)],
            "unsupported": {text: text},
        }
    )


def test_an_idle_gap_names_its_owner() -> None:
    holds = [
        Hold(phase="self-play", where="pipeline.py:75 save", seconds=2.7, share=0.97),
        Hold(phase="self-play", where="queue.py:1 get", seconds=0.1, share=0.03),
        Hold(phase="start-up", where="spawn.py:2 start", seconds=9.0, share=1.0),
    ]
    owner = "pipeline.py:75 save, 97 % of the waiting of the parent"
    assert len(GAP.idle_gaps) == 1
    shown = Parsed(page(GAP.model_copy(update={"holds": holds}))).shown()
    assert f"Kept waiting by {owner}" in shown
    assert f"1 · idle 2.80 s · {owner}" in shown
    assert "Not known what kept it waiting" in Parsed(page(GAP)).shown()


def test_what_is_not_known_has_a_reason_and_is_not_0() -> None:
    mig = Gpu(
        uuid="MIG-1",
        name="NVIDIA H100 MIG 1g.10gb",
        mig=MigInstance(parent_uuid="GPU-1", gpu_instance=7, compute_instance=0),
    )
    host = next(one for one in GAP.series if one.name == "host/cpu")
    dark = Series(name="gpu/MIG-1/utilization", unit="%", times_s=[0, 1], values=[None, None])
    report = reports.minimal(
        seconds=30.0,
        gpus=[mig],
        phases=[Phase(name="self-play", start_s=0.01, end_s=0.02)],
        series=[dark, host],
        unsupported={"gpu/MIG-1/utilization": "not supported for a MIG instance"},
    )
    text = page(report)
    shown = Parsed(text).shown()
    assert "GPU 0 utilisation: not known (not supported for a MIG instance)" in shown
    assert "GPU 0 SM activity: not known (not sampled)" in shown
    assert "– (no sample fell into the phase)" in shown
    series = json.loads(next(t for tag, t in Parsed(text).texts if tag == "script"))
    assert [line["label"] for line in series["lines"]] == ["CPU"]


def test_a_page_of_eight_gpus_sampled_for_long_is_small_enough() -> None:
    report = Run(command="iteration", gpus=8, workers=8, cores=64, seconds=170.0).report()
    assert max(len(one.times_s) for one in report.series) > 1_700
    many = [Phase(name="wave", start_s=i / 5, end_s=(i + 1) / 5) for i in range(1_700)]
    text = page(report.model_copy(update={"phases": report.phases + many}))
    assert "shorter phases are left out here" in text
    assert len(text.encode()) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize(
    "phases",
    [
        [Phase(name="instant", start_s=9.0, end_s=9.0)],
        [Phase(name="before", start_s=-5.0, end_s=-1.0)],
        [Phase(name="long", start_s=0.0, end_s=1e200)],
        [Phase(name=str(n), start_s=0.0, end_s=9.0) for n in range(40)],
    ],
)
def test_odd_phases_are_drawn(phases: list[Phase]) -> None:
    text = page(GAP.model_copy(update={"phases": phases}))
    assert all(phase.name in text for phase in phases)


@pytest.mark.slow
@pytest.mark.parametrize("value", [1e300, -1e300, 1e-300])
def test_odd_values_are_drawn(value: float) -> None:
    series = [one.model_copy(update={"values": [value] * len(one.times_s)}) for one in GAP.series]
    assert "Timeline" in page(GAP.model_copy(update={"series": series}))


def test_colours_are_the_pages_and_readable() -> None:
    text, css = page(GAP), resources.files("blobdiag.render").joinpath("page/page.css")
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 6
    assert not re.search(r"(?:fill|stroke): #", "".join(drawings))
    light, dark, printed = re.findall(r":root \{(.*?)\n? ?\}", css.read_text("utf-8"), re.DOTALL)
    for theme in (light, dark, printed):
        colours = dict(re.findall(r"--(\w+): (#\w+)", theme))
        paper = colours.pop("paper")
        for name in ("grid", "band"):
            colours.pop(name)
        assert len(colours) == 8
        assert min(_contrast(colour, paper) for colour in colours.values()) >= 4.5


def _contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours like #fff or #1d5fb8."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# The command


def test_the_page_lies_beside_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    write_report(GAP, path)
    made = tmp_path / "run.html"
    made.write_text(page(GAP).replace("</html>", "of an older version</html>"), "utf-8")
    html(path, None)
    assert capsys.readouterr().out.splitlines() == [str(made)]
    assert made.read_text("utf-8") == page(GAP)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_report(GAP, path)
    before = path.read_bytes()
    refused = {
        tmp_path: "Is a directory",
        tmp_path / "none" / "page.html": "No such file",
        path: "is not a page of a report",
    }
    for output, words in refused.items():
        with pytest.raises(ReportError, match=words):
            html(path, output)
    with pytest.raises(ReportError, match=r"absent\.json"):
        html(tmp_path / "absent.json", None)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_commands_do_not_wait_for_matplotlib() -> None:
    code = (
        "import sys, blobdiag.cli, blobdiag.cli.report_show as r, pathlib;"
        f"r.show(pathlib.Path({str(next(REFERENCE.glob('*.json')))!r}));"
        "sys.exit('matplotlib' in sys.modules or 'jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
