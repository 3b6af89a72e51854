"""Starts a player with a PYTHONPATH of its own, in the place of the one that was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

if __name__ == "__main__":
    player = [sys.executable, str(HERE.parent / "ending.py"), "normally"]
    subprocess.run(player, env={**os.environ, "PYTHONPATH": str(HERE)}, check=True)
