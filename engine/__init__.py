"""A device-aware self-play and training engine for the card game Blob (Oh Hell).

Each package uses only those before it: `game`, `network`, `search`, `selfplay` and beside it
`matches`, `training`. Nothing here imports `blobdiag`.
"""

PROJECT = "blobdiag"
"""Distinguishes this package from others named `engine`."""
