"""JSON of a report, within bounds that are held before anything is made of it.

A file can be made to need a thousand times its size in memory: `{},` is 3 bytes, and an object in
Python 64, in a model 1,000. So what costs memory is counted in the bytes, before they are parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import inf
from typing import Any, NoReturn

MOST_CONTAINERS = 60_000
"""Objects and lists; of the longest runs a third."""
MOST_FIELDS = 400_000
"""Names of objects, all together."""
MOST_VALUES = 1_000_000
MOST_ENTRIES = 10_000
"""Of one list or object."""
MOST_OF = {"workers": 2_048, "processes": 512, "throughput": 64, "configuration": 500}
"""Entries of these: each is compared with all others, or drawn in full."""
MOST_CHARACTERS = 100_000
"""Of one text; of a name 1,000."""
DEEPEST = 16
LARGEST = 1e18
"""Of a number, positive or negative: nothing measured is as large, and sums stay finite."""
SMALLEST = 1e-100
"""Of a number that is not 0: quotients stay finite."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
}


class NotJson(ValueError):
    """Why the bytes are not the JSON of a report; the text follows the file's name."""


def parsed(content: bytes) -> Any:
    """The value in these bytes, with texts that are valid Unicode. Raises NotJson."""
    for start, name in _COMPRESSED.items():
        if content.startswith(start):
            raise NotJson(f"is {name}: decompress it first")
    counts = {
        "objects and lists": (content.count(b"{") + content.count(b"["), MOST_CONTAINERS),
        "fields": (content.count(b":"), MOST_FIELDS),
        "values": (content.count(b","), MOST_VALUES),
    }
    for what, (count, most) in counts.items():
        if count > most:
            raise NotJson(f"is not a blobdiag report: more than {most:,} {what}")
    try:
        value = json.loads(content, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise NotJson("is not JSON: more follows its end; were two files joined?") from None
        raise NotJson(f"is not JSON: {error}") from None
    except NotJson:
        raise
    except (ValueError, RecursionError) as error:
        raise NotJson(f"is not JSON: {error}") from None
    _check(value)
    return _unicode(value) if _SURROGATE.search(content) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for k, name in enumerate(names) if name in set(names[:k]))
        raise NotJson(f"is not a valid report: {twice!r} is there twice; were two files merged?")
    return made


def _check(value: Any) -> None:
    """Raise NotJson for the first part that is out of bounds, with where it is."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [([value], ())]
    while waiting:
        part, where = waiting.pop()
        if len(where) > DEEPEST:
            _refuse(where, f"nested more than {DEEPEST} deep")
        most = MOST_OF.get(where[-1], MOST_ENTRIES) if where else MOST_ENTRIES
        if len(part) > most:
            _refuse(where, f"more than {most:,} entries")
        named = isinstance(part, dict)
        items: Iterable[tuple[Any, Any]] = part.items() if named else enumerate(part)
        for name, one in items:
            if named and len(name) > 1_000:
                _refuse(where, "a name of more than 1,000 characters")
            if isinstance(one, (dict, list)):
                waiting.append((one, (*where, name)))
            elif isinstance(one, str):
                if len(one) > MOST_CHARACTERS:
                    _refuse((*where, name), f"more than {MOST_CHARACTERS:,} characters")
            elif one is not None and not (
                SMALLEST <= one <= LARGEST or -LARGEST <= one <= -SMALLEST or one == 0
            ):
                _refuse((*where, name), f"a number that is {_fault_of(one)}")


def _fault_of(number: float) -> str:
    if number != number or number in (inf, -inf):
        return "not finite"
    return "too large" if abs(number) > LARGEST else "too close to 0"


def _refuse(where: tuple[Any, ...], why: str) -> NoReturn:
    # The first is the place of the report itself.
    raise NotJson(f"is not a valid report: {'.'.join(map(str, where[1:])) or 'report'}: {why}")


def _unicode(value: Any) -> Any:
    """With U+FFFD for halves of surrogate pairs, which no output can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_unicode(one) for one in value]
    if isinstance(value, dict):
        return {_unicode(name): _unicode(one) for name, one in value.items()}
    return value
