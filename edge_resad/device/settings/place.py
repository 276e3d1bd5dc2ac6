"""Who a station is: the address of everything it says."""

from __future__ import annotations

from pydantic import Field

from edge_resad.messages import Address, Id
from edge_resad.sections import Section


class StationSection(Section):
    """Who this station is: the address of everything it says."""

    site: Id = Field(default="site", description="first part of every topic after er/v1")
    line: Id = Field(default="line", description="second part of every topic")
    device: Id = Field(description="this station alone; also its MQTT client id")
    product: Id = Field(default="product", description="what is on the line; stands in every message")

    @property
    def address(self) -> Address:
        """Where this station speaks."""
        return Address(site=self.site, line=self.line, device=self.device)
