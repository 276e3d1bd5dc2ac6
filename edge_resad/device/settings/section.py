"""What every section of a station file inherits: no unknown keys, no guessing of types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FilePath = Annotated[Path, Field(strict=False)]
"""A path in quotes; a relative one is relative to the station file."""


class Section(BaseModel):
    """One table of the station file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)  # strict: "8" is not a number
