"""The fleet file: everything an operator sets for one collector, in one typed TOML file."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from edge_resad.errors import SettingsError
from edge_resad.messages import Id

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

FilePath = Annotated[Path, Field(strict=False)]
"""A path in quotes; a relative one is relative to the fleet file."""
SQLITE = "sqlite:///"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)  # strict: "8" is not a number


class BrokerSection(_Section):
    """Where stations speak. It must know MQTT 5."""

    host: str = Field(min_length=1, description="name or address of the MQTT broker")
    port: int = Field(default=1883, ge=1, le=65535, description="8883 is usual with TLS")
    username: str | None = Field(default=None, description="without it: anonymous, or by certificate")
    password_file: FilePath | None = Field(default=None, description="a file that holds the password alone")
    keepalive_s: int = Field(default=20, ge=5, le=3600, description="a dead broker is noticed within twice this")
    reconnect_min_s: float = Field(default=1.0, gt=0, description="first pause before a new attempt")
    reconnect_max_s: float = Field(default=30.0, gt=0, description="longest pause before a new attempt")
    ca_file: FilePath | None = Field(default=None, description="switches TLS on; the authority to trust")
    cert_file: FilePath | None = Field(default=None, description="this collector's certificate")
    key_file: FilePath | None = Field(default=None, description="this collector's private key")

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


class CollectorSection(_Section):
    """Who this collector is, and how it gathers."""

    id: Id = Field(default="collector", description="this collector alone; also its MQTT client id")
    group: Id = Field(default="collectors", description="collectors of one group share the messages between them")
    sites: tuple[Id, ...] = Field(default=(), strict=False, description="hear these sites alone; empty: all of them")
    batch: int = Field(default=500, ge=1, le=5000, description="most messages in one commit")
    batch_ms: float = Field(default=20.0, ge=0, le=5000, description="how long one commit gathers messages")
    waiting: int = Field(default=2000, ge=1, le=65535, description="most messages that the broker may send ahead")
    session_h: int = Field(default=24, ge=1, le=1000, description="hours that the broker keeps messages for us")


class StoreSection(_Section):
    """Where everything is kept."""

    url: str = Field(
        default="sqlite:///fleet.db", description="sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE"
    )
    raw: Literal["all", "problems", "none"] = Field(
        default="problems", description="messages kept word for word as well; problems: all but those of good parts"
    )

    @model_validator(mode="after")
    def _is_known(self) -> StoreSection:
        if not self.url.startswith((SQLITE, "postgresql+psycopg://")) or self.url == SQLITE:
            raise ValueError(
                'url is no store that we know, expected "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/DATABASE"'
            )
        return self


class RetentionSection(_Section):
    """How long what is kept, by the time of its receipt. Counts per hour stay for ever."""

    passed_days: int = Field(default=30, ge=1, description="verdicts of good parts")
    verdict_days: int = Field(default=180, ge=1, description="verdicts of failed parts and of those not inspected")
    alert_days: int = Field(default=1095, ge=1, description="alerts, and what a station gave up")
    thumbnail_days: int = Field(default=365, ge=1, description="pictures of alerts")
    raw_days: int = Field(default=90, ge=1, description="messages word for word")
    telemetry_days: int = Field(default=14, ge=1, description="stations' telemetry")
    state_days: int = Field(default=180, ge=1, description="stations' states, but for each station's newest")
    rejected_rows: int = Field(default=10_000, ge=1, description="messages that could not be read")
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


class ImagesSection(_Section):
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


class LogSection(_Section):
    """What the collector says of itself."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="how much is said")


class FleetFile(_Section):
    """The whole fleet file. Relative paths are relative to the file."""

    broker: BrokerSection
    collector: CollectorSection = CollectorSection()
    store: StoreSection = StoreSection()
    retention: RetentionSection = RetentionSection()
    images: ImagesSection = ImagesSection()
    log: LogSection = LogSection()


def load_fleet(path: Path) -> FleetFile:
    """Read a fleet file; every path in it comes back absolute."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"no fleet file at {path}. Check the path, or start from docs/fleet.toml") from None
    except IsADirectoryError:
        raise SettingsError(f"{path} is a folder, expected a fleet file such as {path / 'fleet.toml'}") from None
    except UnicodeDecodeError as broken:
        raise SettingsError(f"{path} is not UTF-8 text at byte {broken.start}. Save it as UTF-8") from broken
    except OSError as broken:
        raise SettingsError(f"{path} cannot be read: {broken.strerror}. Check its permissions") from broken
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise SettingsError(f"{path} is not valid TOML: {' '.join(str(broken).split())}") from broken
    try:
        fleet = FleetFile.model_validate(raw)
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False)
        raise SettingsError(f"{path}: {_explain(errors[0])}") from wrong
    return _beside(fleet, path.absolute().parent)


def _beside(fleet: FleetFile, folder: Path) -> FleetFile:
    """The same settings with every relative path taken from `folder`."""
    files = ("password_file", "ca_file", "cert_file", "key_file")
    named = {name: getattr(fleet.broker, name) for name in files}
    broker = {name: folder / file.expanduser() for name, file in named.items() if file is not None}
    url = fleet.store.url
    if url.startswith(SQLITE):
        url = f"{SQLITE}{folder / Path(url.removeprefix(SQLITE)).expanduser()}"
    return fleet.model_copy(
        update={
            "broker": fleet.broker.model_copy(update=broker),
            "images": _images_beside(fleet.images, folder),
            "store": fleet.store.model_copy(update={"url": url}),
        }
    )


def _images_beside(images: ImagesSection, folder: Path) -> ImagesSection:
    named = {name: getattr(images, name) for name in ("folder", "certificate", "key")}
    files = {name: folder / file.expanduser() for name, file in named.items() if file is not None}
    return images.model_copy(update={**files, "keys": tuple(folder / file.expanduser() for file in images.keys)})


def _explain(error: ErrorDetails) -> str:
    """One error as a sentence: what is, what was expected."""
    section, key = (*(str(part) for part in error["loc"][:2]), "", "")[:2]
    what = f"[{section}] {key}".rstrip()
    if error["type"] == "extra_forbidden":
        known = _keys(section) if key else list(FleetFile.model_fields)
        near = difflib.get_close_matches(key or section, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{what} is not known.{hint} Known: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{what} is missing. " + (f"It takes: {_meaning(section, key)}" if key else "The section is needed")
    if error["type"] == "value_error":
        return f"{what} {error['ctx']['error']}"
    shown = repr(error["input"]) if len(repr(error["input"])) <= 60 else f"{repr(error['input'])[:60]}..."
    if not key:
        return f"{section} is {shown}, expected a section [{section}]"
    return f"{what} is {shown}: {error['msg']}. It takes: {_meaning(section, key)}"


def _section(name: str) -> Any:
    return FleetFile.model_fields[name].annotation


def _keys(section: str) -> list[str]:
    return list(_section(section).model_fields)


def _meaning(section: str, key: str) -> str:
    return str(_section(section).model_fields[key].description)
