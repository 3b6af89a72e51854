"""Why a GPU's clocks are lower than they could be: the driver's bit mask in words."""

from __future__ import annotations

# NVML, nvmlClocksEventReasons. The software power cap (0x04) is left out: a busy card at its limit
# is as fast as it gets.
_THROTTLE = {
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}


def throttle_reasons(mask: float) -> list[str]:
    """The reasons in a clocks event mask that mean the GPU was slowed down.

    Idle, application clocks and sync boost are no throttling (NVML, nvmlClocksEventReasons).
    """
    return [text for bit, text in _THROTTLE.items() if int(mask) & bit]
