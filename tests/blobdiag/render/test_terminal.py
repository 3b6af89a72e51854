import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import reports
from blobdiag.model.base import Metric, Status
from blobdiag.model.figures import figure
from blobdiag.model.judgement import Gain
from blobdiag.model.recorded import Event
from blobdiag.model.report import Report
from blobdiag.render.terminal import render

HEADINGS = [
    "Workers",
    "Throughput",
    "Metrics",
    "Phases",
    "Idle gaps",
    "Checks",
    "Validity of the evidence",
    "Findings",
    "Plan",
    "Environment",
    "Events",
]


def _drawn(report: Report, width: int = 80, **options: bool) -> str:
    stream = io.StringIO()
    render(report, Console(file=stream, width=width, highlight=False, **options))
    return stream.getvalue()


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_every_section_and_its_key_figures() -> None:
    text = _drawn(reports.full())
    lines = text.splitlines()
    places = [next(i for i, ln in enumerate(lines) if ln.startswith(h)) for h in HEADINGS]
    assert places == sorted(places)
    for words in (
        "blobdiag iteration on cuda:0",
        "exit code 1",
        "1 4000002 cuda:0 cpu    cpu    bf16    1 1,234 1,373,442     – finished",
        "629.8 to 642.5",
        "358 in 10.2 s",
        "– (random weights)",
        "needs Hopper or newer",
        "– (psutil is not allowed to)",
        "self-play → training",
        "expected 70 to 100 % · docs/expectations.md#self-play-gpu",
        "not valid: throttling: power cap, needed none",
        "network.to(device) after load_state_dict",
        "3.20 min per iteration, self-play 1.90 × as fast: measured in this run",
        "61,000 at 256",
        "1.70 days for 500 iterations of 10,000 games",
        "27.8 to 33.6",
        "Some CPU, 2 of 8 cores usable, 15.6 GiB",
        "sm_activity: NVML: not supported by this GPU",
        "another process uses the GPU [pid 7]",
    ):
        assert words in text
    assert _line(text, "VRAM").split() == ["VRAM", "3.40", "GB"]
    assert _line(text, "SM activity").split()[2] == "–"


@pytest.mark.parametrize("status", Status)
def test_verdict_comes_first_in_words(status: Status) -> None:
    text = _drawn(reports.minimal(verdict=status), no_color=True)
    first = text.splitlines()[1]
    assert first.strip("│ ") == status.value


@pytest.mark.parametrize("status", Status)
def test_every_status_of_a_check_is_a_word(status: Status) -> None:
    text = _drawn(reports.minimal(checks=[reports.check(status, name="the check")]))
    assert _line(text, status.value).split(status.value)[1].strip() == "the check (deciding)"


def test_sections_without_content_are_left_out() -> None:
    text = _drawn(reports.minimal())
    shown = [h for h in HEADINGS if any(line.startswith(h) for line in text.splitlines())]
    assert shown == ["Environment"]
    assert "– (the NVIDIA driver is not installed)" in text


def test_unknown_metrics_are_listed_by_reason_in_a_line_or_two() -> None:
    names = ["power", "energy", "sm_clock", "fan", "pcie_width", "pcie_sent", "sm", "dram"]
    mig = {f"gpu/MIG-{i}/1/0/{name}": "not supported on MIG" for i in range(7) for name in names}
    other = {"host/cpu": "psutil is gone", "process/17": "access denied"}
    text = _drawn(reports.minimal(unsupported=mig | other), width=200)
    lines = [
        line.split("not known")[1].strip() for line in text.splitlines() if "not known" in line
    ]
    assert lines == [
        "power, energy, sm_clock, fan, pcie_width, pcie_sent and 2 more (see the JSON): "
        "not supported on MIG",
        "host/cpu: psutil is gone",
        "process/17: access denied",
    ]


def test_validity_is_drawn_where_a_rule_is_broken_and_then_in_full() -> None:
    met, broken = reports.full().validity
    assert "Validity" not in _drawn(reports.minimal(validity=[met]))
    text = _drawn(reports.minimal(validity=[met, broken]))
    assert _line(text, "met").split()[1:3] == ["steady", "rate"]
    assert "others: 1.9 cores" in _line(text, "broken")


def test_a_gain_that_is_not_known_says_why() -> None:
    [finding] = reports.full().findings
    why = finding.model_copy(update={"gain": Gain(basis="cannot be predicted: not measured")})
    text = _drawn(reports.minimal(findings=[why]))
    assert _line(text, "gain").split(maxsplit=1)[1].strip() == "cannot be predicted: not measured"
    old = finding.model_copy(update={"gain": None})
    assert "gain" not in _drawn(reports.minimal(findings=[old]))


@pytest.mark.parametrize("report", [reports.minimal(), reports.full()], ids=["minimal", "full"])
def test_fits_80_columns_and_breaks_no_device_name(report: Report) -> None:
    text = _drawn(report)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert not any(line.rstrip().endswith("cuda:") for line in text.splitlines())


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200), st.floats(-1e12, 1e12), st.sampled_from([40, 80, 120]))
def test_nothing_is_wider_than_the_console(text: str, value: float, width: int) -> None:
    check = reports.check(name=text)
    report = reports.full(
        verdict_text=text,
        checks=[check],
        metrics=[Metric(name=text, value=value, unit="%")],
        events=[Event(at_s=0.0, kind=text, text=text)],
    )
    assert max(map(cell_len, _drawn(report, width).splitlines())) <= width


def test_words_of_a_report_are_neither_markup_nor_control() -> None:
    text = _drawn(reports.minimal(verdict_text="[red]loud[/red] \x1b[31m\x07 [cuda]"))
    assert "[red]loud[/red] \N{REPLACEMENT CHARACTER}[31m" in text
    assert "[cuda]" in text
    assert "\x1b" not in text


def test_colour_only_repeats_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    plain = _drawn(reports.full())
    assert "\x1b[" not in plain
    coloured = Console(file=io.StringIO(), width=80, force_terminal=True, no_color=False)
    with coloured.capture() as capture:
        render(reports.full(), coloured)
    assert "\x1b[" in capture.get()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-9, "1.0e-09"),
        (0.014, "0.01"),
        (3.14159, "3.14"),
        (241.898, "241.9"),
        (150.0, "150"),
        (1_913.4, "1,913"),
        (-12.34, "-12.3"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


@given(st.floats(1e-300, 1e300))
def test_a_figure_is_never_a_false_zero(value: float) -> None:
    assert float(figure(value).replace(",", "")) > 0
