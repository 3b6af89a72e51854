"""Basic parts of the models: figures, intervals, statuses, stretches of time."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema


class Status(StrEnum):
    """Result of a check or of a whole report."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT APPLICABLE"


class Role(StrEnum):
    """Whether a check decides the exit code or is only shown."""

    DECIDING = "deciding"
    ADVISORY = "advisory"


def _stop_at_the_first(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            _stop_at_the_first(part)
    elif isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        for part in schema.values():
            if isinstance(part, (dict, list)):
                _stop_at_the_first(part)


class Model(BaseModel):
    """Base of all models: unknown fields and non-finite numbers are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Of a list only the first problem is kept: a file of many needs no memory for them."""
        schema = handler(source)
        _stop_at_the_first(schema)
        return schema


class Interval(Model):
    """A 95 % interval in the unit of its value."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Metric(Model):
    """One measured figure; if `value` or `interval` is None, `reason` says why."""

    name: str
    value: float | None
    unit: str
    interval: Interval | None = None
    samples: int = 0
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError("an unknown value needs a reason")
        return self


class Stretch(Model):
    """A stretch of time, in seconds of the run; `end_s` is not before `start_s`."""

    start_s: float
    end_s: float

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start_s > self.end_s:
            raise ValueError(f"starts at {self.start_s:g} s, after its end at {self.end_s:g} s")
        return self

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s
