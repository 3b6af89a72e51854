"""Raises UserError on import if another package named `engine` comes first on Python's path.

Import it before any module of `engine`.
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
