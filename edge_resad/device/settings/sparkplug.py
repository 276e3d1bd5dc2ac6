"""How a SCADA sees a station by Sparkplug B."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from edge_resad.device.settings.broker import BrokerSection
from edge_resad.sections import FilePath, Section

TopicLevel = Annotated[str, Field(pattern=r"^[^+/#\x00-\x1f]{1,64}$")]


class SparkplugSection(Section):
    """A live view for a SCADA that speaks Sparkplug B, at the same broker. Without this section there is none."""

    group: TopicLevel = Field(description="the group of edge nodes that this station is one of")
    node: TopicLevel | None = Field(default=None, description="the edge node; without it: [station] device")
    every_s: float = Field(default=10.0, ge=0.5, le=3600, description="how often what has changed is said")
    client_id: str | None = Field(
        default=None, min_length=1, description="of this connection; without it: [station] device and -sparkplug"
    )
    username: str | None = Field(default=None, description="instead of that of [broker], with password_file")
    password_file: FilePath | None = Field(default=None, description="a file that holds the password alone")
    cert_file: FilePath | None = Field(default=None, description="instead of that of [broker], with key_file")
    key_file: FilePath | None = Field(default=None, description="the certificate's private key")

    @model_validator(mode="after")
    def _is_somebody(self) -> SparkplugSection:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together: set both or neither")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both or neither")
        return self

    def node_of(self, device: str) -> str:
        """What the edge node is called. device: the station's name."""
        return self.node or device

    def client_of(self, device: str) -> str:
        """The client id. device: the station's name."""
        return self.client_id or f"{device}-sparkplug"

    def access(self, broker: BrokerSection) -> BrokerSection:
        """The broker, with who we are there."""
        own = {
            name: getattr(self, name)
            for name in ("username", "password_file", "cert_file", "key_file")
            if getattr(self, name) is not None
        }
        return broker.model_copy(update=own)
