"""Why a GPU's clocks were lowered: NVML's clocks event bit mask, in words.

Source: NVML, nvmlClocksEventReasons.
"""

from __future__ import annotations

# The software power cap (0x04) is left out: a busy card at its limit is as fast as it gets.
_THROTTLING = {
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}


def throttle_reasons(mask: float) -> list[str]:
    """The reasons in a mask (series `clocks_event_reasons`) that mean the GPU was slowed down.

    Idle, application clocks and sync boost are no throttling.
    """
    return [text for bit, text in _THROTTLING.items() if int(mask) & bit]
