"""Older reports, brought to today's schema one version at a time, as plain JSON objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from blobdiag import __version__
from blobdiag.model.report import SCHEMA_VERSION

Data = dict[str, Any]


class NotUpgradable(Exception):
    """A schema version that this blobdiag does not read; the text follows the file's name."""


def upgraded(data: Data) -> Data:
    """The same report in SCHEMA_VERSION; `data` stays as it is.

    Only the form is brought up to date, whether it is valid is the model's to say. Raises
    NotUpgradable.
    """
    version = data["schema_version"]
    if type(version) is not int or version < 1:
        raise NotUpgradable(f"is not a valid report: schema_version {version!r} was never written")
    if version > SCHEMA_VERSION:
        raise NotUpgradable(
            f"is of schema version {version} and needs {_writer(data)}; "
            f"this is blobdiag {__version__}, which reads up to version {SCHEMA_VERSION}"
        )
    for older in range(version, SCHEMA_VERSION):
        data = _STEPS[older](data) | {"schema_version": older + 1}
    return data


def _name_devices(data: Data) -> Data:
    """1 to 2: an idle gap's device, which may be the CPU, is no longer called `gpu`."""
    gaps = data.get("idle_gaps", [])
    if not isinstance(gaps, list):
        return data
    return data | {"idle_gaps": [_renamed(gap, "gpu", "device") for gap in gaps]}


def _as_it_is(data: Data) -> Data:
    """2 to 3, 3 to 4: only parts that older reports do not have came in."""
    return data


_STEPS: dict[int, Callable[[Data], Data]] = {1: _name_devices, 2: _as_it_is, 3: _as_it_is}
"""By version: the step to the next one."""


def _renamed(part: Any, old: str, new: str) -> Any:
    if not isinstance(part, dict):
        return part
    return {new if name == old else name: value for name, value in part.items()}


def _writer(data: Data) -> str:
    """The blobdiag that wrote a report, as far as it says so."""
    software = data.get("software")
    version = str(software.get("blobdiag")) if isinstance(software, dict) else ""
    told = re.fullmatch(r"\d[\w.+-]{0,30}", version) and version != __version__
    return f"blobdiag {version} or newer" if told else "a newer blobdiag"
