"""The outbox between the line and the broker."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from edge_resad.device.settings.section import FilePath, Section


class SpoolSection(Section):
    """The durable outbox between the line and the broker."""

    path: FilePath = Field(default=Path("spool.db"), description="its file; keep it on a disk that survives a reboot")
    max_mb: int = Field(default=2048, ge=1, description="megabytes of messages that may wait")
    commit_ms: float = Field(default=10.0, ge=0, le=1000, description="how long one commit gathers messages")
    thumbnails: bool = Field(default=True, description="send a small picture with every new or worse alert")
