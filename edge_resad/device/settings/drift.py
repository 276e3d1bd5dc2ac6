"""What of a line is charted, and how often a chart may be wrong."""

from __future__ import annotations

from pydantic import Field

from edge_resad.sections import FilePath, Section


class DriftSection(Section):
    """Slow changes of scores, light, focus, position and rejects."""

    on: bool = Field(default=True, description="whether the line is charted")
    false_alarm_parts: int = Field(
        default=1_000_000, ge=1000, description="parts between two false alarms of all charts of a product together"
    )
    learn_parts: int = Field(
        default=1000, ge=50, le=100_000, description="parts from which a chart learns what is usual"
    )
    folder: FilePath | None = Field(
        default=None,
        description="where charts are kept, a file for each camera; without it: `drift` beside the spool",
    )
