"""Who in the fleet may tell a station what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge_resad.sections import FilePath, Section

HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s/]+(/[^\s]*)?$")]


class CommandsSection(Section):
    """Who in the fleet may tell a station what, by the broker. Without keys nobody."""

    keys: tuple[FilePath, ...] = Field(
        default=(), strict=False, description="keys of roles, made by edge-resad fleet key"
    )
    allow_unsigned: bool = Field(
        default=False, description="whoever the broker lets write to this station may command it, without any key"
    )
    ledger: FilePath = Field(default=Path("commands.db"), description="what was done, so that it is done once")
    audit: FilePath = Field(default=Path("commands.jsonl"), description="one line of JSON for each command")
    audit_mb: int = Field(default=16, ge=1, description="megabytes after which the audit begins a new file")
    audit_keep: int = Field(default=10, ge=1, description="old files that stay")
    upload_to: tuple[HttpsUrl, ...] = Field(
        default=(), strict=False, description="where pictures may be sent on demand: the beginning of such URLs"
    )
    upload_ca_file: FilePath | None = Field(
        default=None, description="the authority to trust there; without it the system's"
    )

    @property
    def on(self) -> bool:
        """Whether anybody may command this station."""
        return bool(self.keys) or self.allow_unsigned
