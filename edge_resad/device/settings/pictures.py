"""Which pictures of parts stay on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_resad.sections import FilePath, Section


class PicturesSection(Section):
    """Which pictures of parts stay on the device."""

    folder: FilePath | Literal[False] = Field(default=Path("pictures"), description="where they go; false keeps none")
    max_mb: int = Field(default=2000, ge=1, description="megabytes that all of them may take")
    min_free_mb: int = Field(default=2000, ge=0, description="megabytes of the disk that stay free of them")
    rejects: bool = Field(default=True, description="every failed part, with its heat")
    passes: float = Field(default=0.01, ge=0, le=1, description="share of the passed parts, spaced evenly")
    not_inspected: bool = Field(
        default=True, description="parts without a verdict: one in ten seconds for each camera and reason"
    )
