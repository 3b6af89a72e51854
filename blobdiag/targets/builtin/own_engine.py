"""Refuses another package named `engine` that comes first on Python's path.

Imported before anything of `engine` is, by whatever needs it first.
"""

from __future__ import annotations

import engine

if getattr(engine, "PROJECT", None) != "blobdiag":
    from blobdiag.model.errors import UserError

    # A folder without an __init__.py is a package without a file.
    _where = getattr(engine, "__file__", None) or next(iter(engine.__path__), "nowhere")
    raise UserError(
        f"another package named 'engine' is in the way ({_where}): "
        "rename it, or take its folder off PYTHONPATH"
    )
