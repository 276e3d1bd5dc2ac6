"""Where alerts go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edge_resad.device.settings.section import FilePath, Section


class BrokerSection(Section):
    """Where alerts go. Without this section they wait in the spool."""

    host: str = Field(min_length=1, description="name or address of the MQTT broker")
    port: int = Field(default=1883, ge=1, le=65535, description="8883 is usual with TLS")
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="MQTT version; auto is 5, and 3.1.1 where the broker knows no better"
    )
    username: str | None = Field(default=None, description="without it: anonymous, or by certificate")
    password_file: FilePath | None = Field(default=None, description="a file that holds the password alone")
    keepalive_s: int = Field(default=20, ge=5, le=3600, description="a dead broker is noticed within twice this")
    reconnect_min_s: float = Field(default=1.0, gt=0, description="first pause before a new attempt")
    reconnect_max_s: float = Field(default=30.0, gt=0, description="longest pause before a new attempt")
    max_inflight: int = Field(default=50, ge=1, le=1000, description="messages on the way at the same time")
    ca_file: FilePath | None = Field(default=None, description="switches TLS on; the authority to trust")
    cert_file: FilePath | None = Field(default=None, description="this station's certificate")
    key_file: FilePath | None = Field(default=None, description="this station's private key")
    without_clock: Literal["wait", "connect"] = Field(
        default="wait",
        description="TLS while this station's clock is not set: wait for it, or do not look at certificates' dates",
    )

    @property
    def where(self) -> str:
        """The broker as a person would write it."""
        return f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _can_connect(self) -> BrokerSection:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file is set without username. Set username, or remove password_file")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both or neither")
        if self.cert_file is not None and self.ca_file is None:
            raise ValueError("cert_file is set without ca_file, and without ca_file there is no TLS. Set ca_file")
        if self.reconnect_min_s > self.reconnect_max_s:
            raise ValueError(
                f"reconnect_min_s is {self.reconnect_min_s:g} and reconnect_max_s is {self.reconnect_max_s:g}. "
                "The first pause cannot be longer than the longest"
            )
        return self
