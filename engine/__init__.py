"""A device-aware self-play and training engine for the card game Blob (Oh Hell).

`game` → `network` → `search` → `selfplay` → `training`, and `matches` beside them: each package
uses only those before it. Nothing here imports `blobdiag`.
"""

PROJECT = "blobdiag"
"""Tells this package from another one of the same name."""
