"""Strict when written, tolerant when read: what every part of a message inherits."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationInfo, model_validator

MAX_WHOLE = 2**53 - 1  # what every JSON reader and every database can hold
Whole = Annotated[int, Field(ge=0, le=MAX_WHOLE)]
Wall = Annotated[FiniteFloat, Field(ge=-62_135_596_800, le=253_402_300_799)]
"""Seconds since 1970, in the years 1 to 9999."""
READING: dict[str, str] = {"mode": "reading"}
"""The validation context of a reader."""


class Strict(BaseModel):
    """Refuses a field it does not know when built, passes over it when read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _pass_over_unknown(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context is READING and isinstance(value, dict):
            return {name: item for name, item in value.items() if name in cls.model_fields}
        return value
