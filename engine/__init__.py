"""A device-aware self-play and training engine for the card game Blob (Oh Hell).

`rules` → `belief` → `search` → `lanes` → `evaluator` → `worker` → `measuring` → `processes` →
`pool` → `selfplay` → `pipeline`: each module uses only those before it. Beside them stand
`checkpoint` → `run_folder`, which know files and nothing of what is in them. Nothing here imports
`blobdiag`.
"""

PROJECT = "blobdiag"
"""Tells this package from another one of the same name."""
