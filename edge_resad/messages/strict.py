"""Strict when written, tolerant when read: what every part of a message inherits."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

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
