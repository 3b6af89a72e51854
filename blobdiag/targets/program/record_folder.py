"""The folder in which the processes of a program leave their records."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from blobdiag.model.errors import UserError
from blobdiag.model.own_files import temporary_folder


def record_folder() -> TemporaryDirectory[str]:
    """A new folder of this account alone, which no other can rename; removed at its end.

    Raises UserError where there is no place for one.
    """
    try:
        return TemporaryDirectory(
            prefix="blobdiag-", dir=temporary_folder(), ignore_cleanup_errors=True
        )
    except OSError as error:
        raise UserError(f"no folder for the program's records: {error.strerror}") from None
