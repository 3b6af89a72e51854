"""From checks to a verdict and an exit code."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from blobdiag.diagnosis.verdict import verdict
from blobdiag.model.base import Role, Status
from blobdiag.model.judgement import Check

_CHECKS = st.lists(
    st.builds(
        reports.check,
        status=st.sampled_from(Status),
        role=st.sampled_from(Role),
        valid=st.booleans(),
        name=st.sampled_from(["first", "second", "third"]),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(_CHECKS)
def test_verdict_precedence(checks: list[Check]) -> None:
    counted = [
        (c.status, c.valid)
        for c in checks
        if c.role is Role.DECIDING and c.status is not Status.NOT_APPLICABLE
    ]
    status, code, text = verdict(checks)
    if (Status.FAIL, True) in counted:
        assert (status, code) == (Status.FAIL, 1)
    elif not checks or set(counted) - {(Status.PASS, True)}:
        assert (status, code) == (Status.INCONCLUSIVE, 3)
    else:
        assert code == 0
        assert status is (Status.PASS if counted else Status.NOT_APPLICABLE)
    assert "\n" not in text
    assert text.endswith(".")
    assert not counted or any(c.name in text for c in checks)


def test_verdict_names_the_check_that_decided() -> None:
    failed = reports.check(Status.FAIL, name="the culprit")
    shown = reports.check(Status.FAIL, Role.ADVISORY, name="a bystander")
    _, code, text = verdict([reports.check(), shown, failed])
    assert code == 1
    assert text == "the culprit: mean 83 % (expected: 70 to 100 %)."
    _, code, text = verdict([reports.check(Status.FAIL, valid=False, name="the culprit")])
    assert code == 3
    assert "FAIL ignored: invalid evidence" in text
    assert "throttling: power cap" in text
