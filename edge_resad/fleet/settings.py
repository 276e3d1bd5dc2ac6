"""The fleet file: everything an operator sets for one collector, in one typed TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from edge_resad.messages import Id
from edge_resad.sections import BrokerAddress, FilePath, Section, read_settings

SQLITE = "sqlite:///"


class CollectorSection(Section):
    """Who this collector is, and how it gathers."""

    id: Id = Field(default="collector", description="this collector alone; also its MQTT client id")
    group: Id = Field(default="collectors", description="collectors of one group share the messages between them")
    sites: tuple[Id, ...] = Field(default=(), strict=False, description="hear these sites alone; empty: all of them")
    batch: int = Field(default=500, ge=1, le=5000, description="most messages in one commit")
    batch_ms: float = Field(default=20.0, ge=0, le=5000, description="how long one commit gathers messages")
    waiting: int = Field(default=2000, ge=1, le=65535, description="most messages that the broker may send ahead")
    session_h: int = Field(default=24, ge=1, le=1000, description="hours that the broker keeps messages for us")


class StoreSection(Section):
    """Where everything is kept."""

    url: str = Field(
        default="sqlite:///fleet.db", description="sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE"
    )
    raw: Literal["all", "problems", "none"] = Field(
        default="problems", description="messages kept word for word as well; problems: all but those of good parts"
    )

    def paths_in_words(self, folder: Path) -> dict[str, object]:
        """SQLite's file stands in `url`."""
        if not self.url.startswith(SQLITE):
            return {}
        return {"url": f"{SQLITE}{folder / Path(self.url.removeprefix(SQLITE)).expanduser()}"}

    @model_validator(mode="after")
    def _is_known(self) -> StoreSection:
        if not self.url.startswith((SQLITE, "postgresql+psycopg://")) or self.url == SQLITE:
            raise ValueError(
                'url is no store that we know, expected "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/DATABASE"'
            )
        return self


class RetentionSection(Section):
    """How long what is kept, by the time of its receipt. Counts per hour stay for ever."""

    passed_days: int = Field(default=30, ge=1, description="verdicts of good parts")
    verdict_days: int = Field(default=180, ge=1, description="verdicts of failed parts and of those not inspected")
    alert_days: int = Field(
        default=1095, ge=1, description="alerts, commands and their replies, and what a station gave up"
    )
    thumbnail_days: int = Field(default=365, ge=1, description="pictures of alerts")
    raw_days: int = Field(default=90, ge=1, description="messages word for word")
    telemetry_days: int = Field(default=14, ge=1, description="stations' telemetry")
    state_days: int = Field(
        default=180, ge=1, description="stations' states and reported settings, but for each station's newest"
    )
    rejected_rows_of_device: int = Field(
        default=4000, ge=1, description="messages of one station that are set aside because they cannot be read"
    )
    rejected_rows: int = Field(default=40_000, ge=1, description="such messages of all stations together")
    max_mb: int | None = Field(
        default=None, ge=1, description="megabytes of the store; beyond it the oldest good parts and pictures go first"
    )
    every_s: float = Field(default=60.0, ge=1, le=86400, description="seconds between two looks at what is too old")

    @model_validator(mode="after")
    def _in_order(self) -> RetentionSection:
        if not self.passed_days <= self.verdict_days <= self.alert_days:
            raise ValueError(
                f"passed_days, verdict_days, alert_days are {self.passed_days}, {self.verdict_days}, "
                f"{self.alert_days}. Each must be at least as long as the one before it"
            )
        return self


class ImagesSection(Section):
    """Where stations send pictures that somebody asks for: the receiver of `edge-resad fleet images`."""

    folder: FilePath = Field(default=Path("images"), description="where pictures go, one folder for each station")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to serve on; 0.0.0.0: every one")
    port: int = Field(default=8444, ge=0, le=65535, description="port to serve on; 0 takes a free one")
    url: str | None = Field(
        default=None,
        pattern=r"^https://[^\s/]+/?$",
        description="the receiver as stations reach it, such as https://fleet.example:8444",
    )
    certificate: FilePath | None = Field(default=None, description="the receiver's certificate, a PEM file")
    key: FilePath | None = Field(default=None, description="its private key")
    keys: tuple[FilePath, ...] = Field(
        default=(), strict=False, description="keys of roles by which stations are known, as edge-resad send has them"
    )
    max_mb: int = Field(default=64, ge=1, description="megabytes of the largest picture")
    min_free_mb: int = Field(default=1000, ge=0, description="megabytes of the disk that stay free")


class LogSection(Section):
    """What the collector says of itself."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="how much is said")


class FleetFile(Section):
    """The whole fleet file. Relative paths are relative to the file."""

    broker: BrokerAddress
    collector: CollectorSection = CollectorSection()
    store: StoreSection = StoreSection()
    retention: RetentionSection = RetentionSection()
    images: ImagesSection = ImagesSection()
    log: LogSection = LogSection()


def load_fleet(path: Path) -> FleetFile:
    """Read a fleet file; every path in it comes back absolute.

    Raises:
        SettingsError: there is no such file, or a key or a value in it is wrong.
    """
    return read_settings(path, FleetFile, kind="fleet")
