"""Print a report's JSON schema: `python -m blobdiag.model.schema > reports/schema.json`."""

from __future__ import annotations

import json

from blobdiag.model.report_files import schema


def schema_text() -> str:
    """What `reports/schema.json` must hold."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
