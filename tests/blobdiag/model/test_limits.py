from __future__ import annotations

from blobdiag.model.judgement import IdleGap
from blobdiag.model.limits import MOST_EVENTS, MOST_GAPS, first_and_last_events, longest_gaps
from blobdiag.model.recorded import Event


def events(count: int) -> list[Event]:
    return [Event(at_s=float(k), kind="lost", text=f"event {k}") for k in range(count)]


def test_few_events_stay_as_they_are() -> None:
    assert first_and_last_events(events(MOST_EVENTS)) == events(MOST_EVENTS)


def test_of_many_events_the_first_and_the_last_stay() -> None:
    kept = first_and_last_events(events(30_000))
    assert len(kept) == MOST_EVENTS + 1
    assert kept[0].text == "event 0"
    assert kept[-1].text == "event 29999"
    assert kept[MOST_EVENTS // 2].text == "29,600 events are not listed"
    assert [e.at_s for e in kept] == sorted(e.at_s for e in kept)


def test_the_longest_gaps_stay_in_order() -> None:
    gaps = [IdleGap(device="cpu", start_s=k, end_s=k + 1 + k % 7, phase=None) for k in range(2_800)]
    kept = longest_gaps(gaps)
    assert kept == [gap for gap in gaps if gap.seconds == 7][:MOST_GAPS]
