"""How one reaches an MQTT broker: what a station's file and a fleet's file say alike."""

from __future__ import annotations

from pydantic import Field, model_validator

from edge_resad.sections.section import FilePath, Section


class BrokerAddress(Section):
    """Where the broker is, and who we are there."""

    host: str = Field(min_length=1, description="name or address of the MQTT broker")
    port: int = Field(default=1883, ge=1, le=65535, description="8883 is usual with TLS")
    username: str | None = Field(default=None, description="without it: anonymous, or by certificate")
    password_file: FilePath | None = Field(default=None, description="a file that holds the password alone")
    keepalive_s: int = Field(default=20, ge=5, le=3600, description="a dead broker is noticed within twice this")
    reconnect_min_s: float = Field(default=1.0, gt=0, description="first pause before a new attempt")
    reconnect_max_s: float = Field(default=30.0, gt=0, description="longest pause before a new attempt")
    ca_file: FilePath | None = Field(default=None, description="switches TLS on; the authority to trust")
    cert_file: FilePath | None = Field(default=None, description="our own certificate")
    key_file: FilePath | None = Field(default=None, description="our own private key")

    @property
    def where(self) -> str:
        """The broker as a person would write it."""
        return f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _can_connect(self) -> BrokerAddress:
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
