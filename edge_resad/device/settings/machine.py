"""How closely the machine itself is watched."""

from __future__ import annotations

from pydantic import Field

from edge_resad.sections import Section


class MachineSection(Section):
    """The machine's heat, throttling, memory and disk."""

    watch: bool = Field(default=True, description="whether the machine is looked at")
    every_s: float = Field(default=5.0, ge=0.5, le=3600, description="seconds between two looks")
    low_memory_mb: float = Field(default=200.0, ge=0, description="megabytes: less free memory is said")
    low_disk_mb: float = Field(default=500.0, ge=0, description="megabytes: less free on the spool's disk is said")
