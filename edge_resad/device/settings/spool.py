"""The outbox between the line and the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_resad.sections import FilePath, Section


class SpoolSection(Section):
    """The durable outbox between the line and the broker."""

    path: FilePath = Field(default=Path("spool.db"), description="its file; keep it on a disk that survives a reboot")
    ack: Literal["collector", "broker"] = Field(
        default="collector",
        description="whose word lets a message leave: a collector's that has stored it, or the broker's",
    )
    max_mb: int = Field(default=2048, ge=1, description="megabytes of messages that may wait")
    max_messages: int = Field(default=5_000_000, ge=1000, description="messages that may wait")
    drain_per_s: float = Field(
        default=500.0,
        ge=0,
        description="old messages sent a second, beside alerts and the new ones; 0 is as many as go",
    )
    commit_ms: float = Field(default=10.0, ge=0, le=1000, description="how long one commit gathers messages")
    thumbnails: bool = Field(default=True, description="send a small picture with every new or worse alert")
    passes: bool = Field(
        default=True, description="send the verdict of every good part too; without, telemetry's counts tell of them"
    )
