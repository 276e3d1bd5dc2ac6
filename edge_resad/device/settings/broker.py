"""Where alerts go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_resad.sections import BrokerAddress


class BrokerSection(BrokerAddress):
    """Where alerts go. Without this section they wait in the spool."""

    protocol: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="MQTT version; auto is 5, and 3.1.1 where the broker knows no better"
    )
    max_inflight: int = Field(default=50, ge=1, le=1000, description="messages on the way at the same time")
    without_clock: Literal["wait", "connect"] = Field(
        default="wait",
        description="TLS while this station's clock is not set: wait for it, or do not look at certificates' dates",
    )
