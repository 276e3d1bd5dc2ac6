"""Strict when written, tolerant when read: what every part of a message inherits."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationInfo, model_validator

MAX_WHOLE = 2**53 - 1  # what every JSON reader and every database can hold
Whole = Annotated[int, Field(ge=0, le=MAX_WHOLE)]
Wall = Annotated[FiniteFloat, Field(ge=-62_135_596_800, le=253_402_300_799)]
"""Seconds since 1970, in the years 1 to 9999."""
_HUGE = re.compile(rb"[0-9][eE]\+?[0-9]{3}")
READING: dict[str, str] = {"mode": "reading"}
"""The validation context of a reader."""


def parse(payload: bytes) -> Any:
    """JSON from others; ValueError where it is none, too deep, or with what no database takes."""
    try:
        value = json.loads(payload.decode(), parse_constant=_refuse)
        if b"\\u" in payload or _HUGE.search(payload):  # nearly no message; the others cannot hold what is looked for
            _check(value)
        return value
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the payload is not JSON: {error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _check(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, str):
        if "\0" in value or (not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise ValueError("a text holds a NUL or half a character")
    elif isinstance(value, dict):
        for name, part in value.items():
            _check(name)
            _check(part)
    elif isinstance(value, list):
        for part in value:
            _check(part)


class Strict(BaseModel):
    """Refuses a field it does not know when built, passes over it when read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _pass_over_unknown(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context is READING and isinstance(value, dict):
            return {name: item for name, item in value.items() if name in cls.model_fields}
        return value
