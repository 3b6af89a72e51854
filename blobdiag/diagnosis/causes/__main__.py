"""Prints the catalogue as a Markdown table: `python -m blobdiag.diagnosis.causes`."""

from __future__ import annotations

from blobdiag.diagnosis.causes._table import table

if __name__ == "__main__":
    print(table())
