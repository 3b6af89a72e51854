"""Devices: parsed, compared, printed."""

from __future__ import annotations

import pytest

from blobdiag.model.device import Device


@pytest.mark.parametrize(
    ("asked", "actual", "expected"),
    [
        ("cuda", "cuda:0", True),
        ("cuda", "cuda:7", True),
        ("cuda", "cpu", False),
        ("cuda:1", "cuda:1", True),
        ("cuda:1", "cuda:0", False),
        ("cuda:1", "cuda:11", False),
        ("cpu", "cpu", True),
        ("cpu", "cuda:0", False),
        ("meta", "meta", True),
    ],
)
def test_what_is_asked_for_accepts_a_device(asked: str, actual: str, expected: bool) -> None:
    assert Device.of(asked).accepts(Device.of(actual)) is expected


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "meta", "mps"])
def test_a_device_prints_as_it_was_read(text: str) -> None:
    assert str(Device.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "gpu", "cuda:", "cuda:-1", "cuda:01", "cpu:0", "CUDA", "cuda:٣"]
)
def test_what_is_no_device_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="is no device") as caught:
        Device.parse(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)
