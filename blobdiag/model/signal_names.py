"""Signals by name."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """'SIGKILL' of 9; 'signal 35' of a real-time one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
