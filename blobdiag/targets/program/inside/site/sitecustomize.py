# Syntax that Python 2 reads as well: whatever interpreter the program starts comes through here.
"""Gets blobdiag's counting into a Python process; then the sitecustomize that is next in line."""

import os
import sys

if sys.version_info >= (3, 6) and os.environ.get("BLOBDIAG_RECORDS"):
    try:
        import blobdiag_record

        if blobdiag_record.start(os.environ["BLOBDIAG_RECORDS"]):
            import blobdiag_import

            blobdiag_import.install()
    except Exception:
        pass

_here = os.path.dirname(os.path.abspath(__file__))
_at = [number for number, path in enumerate(sys.path) if os.path.abspath(path) == _here]
_ours = sys.modules.pop("sitecustomize")
for _number in reversed(_at):
    del sys.path[_number]
try:
    # Its errors are its own, and end where they would have without us.
    import sitecustomize  # noqa: F401
finally:
    # It may have changed the path: ours goes back to the front. Programs hand it on from there.
    sys.path[:0] = [_here] * bool(_at)
    sys.modules.setdefault("sitecustomize", _ours)
