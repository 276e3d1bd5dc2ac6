"""Figures for those who watch many machines."""

from __future__ import annotations

from pydantic import Field, model_validator

from edge_resad.sections import FilePath, Section


class MetricsSection(Section):
    """Figures for those who watch many machines."""

    prometheus_file: FilePath | None = Field(
        default=None, description="a .prom file in the folder of node_exporter's textfile collector; none without it"
    )
    every_s: float = Field(default=15.0, ge=1, le=3600, description="seconds between two versions of the file")

    @model_validator(mode="after")
    def _can_be_read(self) -> MetricsSection:
        if self.prometheus_file is not None and self.prometheus_file.suffix != ".prom":
            raise ValueError(
                f'prometheus_file is "{self.prometheus_file}", expected a name that ends with .prom: '
                "node_exporter reads no others"
            )
        return self
