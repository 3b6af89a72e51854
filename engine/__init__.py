"""A device-aware self-play and training engine for the card game Blob (Oh Hell).

`rules` → `belief` → `search` → `lanes` → `evaluator` → `worker` → `measuring` → `processes` →
`pool` → `selfplay` → `pipeline`: each module uses only those before it. Nothing here imports
`blobdiag`.
"""

PROJECT = "blobdiag"
"""Tells this package from another one of the same name."""
