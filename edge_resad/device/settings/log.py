"""What stays on the device as text."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_resad.sections import FilePath, Section


class LogSection(Section):
    """What stays on the device."""

    verdicts: FilePath | Literal[False] = Field(
        default=Path("verdicts.jsonl"),
        description="one line of JSON for each part that comes to the inspection; false writes none",
    )
    max_mb: int = Field(default=64, ge=1, description="megabytes before the verdicts begin a new file")
    keep: int = Field(default=3, ge=0, le=1000, description="full files of verdicts to keep")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="how much is said")
