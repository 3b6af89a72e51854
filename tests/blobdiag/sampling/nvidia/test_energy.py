"""Energy from the driver's counter, else from power."""

from __future__ import annotations

import pytest

from blobdiag.model import names
from blobdiag.sampling.nvidia.energy import energy
from blobdiag.sampling.trace import Trace


def trace(**series: list[float | None]) -> Trace:
    made = Trace(start=0)
    for metric, values in series.items():
        for second, value in enumerate(values):
            made.add(names.gpu("G", metric), names.GPU_UNITS[metric], second, value)
    return made


def test_difference_of_the_counter() -> None:
    used = energy(trace(energy=[5e9, None, 5e9 + 700_000], power=[1.0, 1.0]), "G", "e")
    assert (used.value, used.unit, used.samples, used.reason) == (700, "J", 2, None)


@pytest.mark.parametrize("counter", [[], [5e9], [5e9, 1e3]])
def test_power_integrated_where_there_is_no_counter(counter: list[float | None]) -> None:
    used = energy(trace(energy=counter, power=[100.0, None, 300.0, 300.0]), "G", "e")
    assert used.value == pytest.approx(2 * 200 + 300)
    assert "integrated" in (used.reason or "")


def test_neither_is_null_with_the_drivers_reason() -> None:
    made = trace(power=[100.0])
    assert energy(made, "G", "e").value is None
    assert energy(made, "G", "e").reason
    made.unsupported[names.gpu("G", "power")] = "NVML: not supported"
    assert energy(made, "G", "e").reason == "NVML: not supported"
