"""Clock reasons, against the binding's own constants."""

from __future__ import annotations

import pynvml

from blobdiag.model.clock_reasons import throttle_reasons


def test_throttle_reasons_leave_out_idle_and_application_clocks() -> None:
    normal = (
        pynvml.nvmlClocksEventReasonGpuIdle
        | pynvml.nvmlClocksEventReasonApplicationsClocksSetting
        | pynvml.nvmlClocksEventReasonSwPowerCap  # a busy card at its limit
    )
    assert throttle_reasons(normal) == []
    slow = (
        pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
        | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    )
    assert throttle_reasons(float(normal | slow)) == ["thermal slowdown (hardware)", "power brake"]
