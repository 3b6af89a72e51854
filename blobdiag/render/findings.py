"""The parts of a finding, the same in every form of a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blobdiag.model.judgement import Finding
from blobdiag.render import words


class Part(NamedTuple):
    """One of the paragraphs below a finding's title."""

    label: str
    lines: list[str]
    strong: bool = False
    """Whether to emphasise it: the part to act on."""


def parts(finding: Finding) -> Iterator[Part]:
    """Cause, evidence, remedy, and the gain with its basis; what a report lacks is left out."""
    yield Part("cause", [finding.cause])
    if finding.evidence:
        yield Part("seen", finding.evidence)
    yield Part("remedy", [finding.remedy], strong=True)
    if finding.gain is not None:
        yield Part("gain", [words.gain(finding.gain)])
