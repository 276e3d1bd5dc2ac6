"""What every section of a file of settings inherits: no unknown keys, no guessing of types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FilePath = Annotated[Path, Field(strict=False)]
"""A path in quotes; a relative one is relative to the file that names it."""


class Section(BaseModel):
    """One table of a file of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)  # strict: "8" is not a number

    def paths_in_words(self, folder: Path) -> dict[str, object]:
        """Keys whose text has a path in it, with a relative one taken from `folder`."""
        return {}
