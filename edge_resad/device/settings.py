"""The station file: everything an operator sets for one station, in one typed TOML file."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from edge_resad.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A name that may stand in an MQTT topic: letters, digits, `-` and `_`, at most 64 of them."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StationSection(_Section):
    """Who this station is: the address of everything it says."""

    site: Id = "site"
    line: Id = "line"
    device: Id  # also the MQTT client id and, with certificates, their common name
    product: Id = "product"


class CameraSection(_Section):
    """Where frames come from."""

    name: Id = "cam0"
    source: str  # "synthetic", "folder:PATH", "video:PATH" or a V4L2 device such as "/dev/video0"
    fps: float | None = Field(default=None, gt=0, le=1000)  # frames per second to ask for, or to play files at
    width: int | None = Field(default=None, gt=0)  # pixels
    height: int | None = Field(default=None, gt=0)  # pixels
    loop: bool = False  # folders and videos: begin again at the end


class InspectionSection(_Section):
    """What is a defect, and how many bad frames in a row make an alert."""

    bank: Path  # made by `edge-resad enrol`
    bundle: Path | None = None  # default: the bundle that comes with the package
    threshold: float | None = Field(default=None, gt=0)  # default: the bank's own
    min_area_px: int = Field(default=0, ge=0)  # smallest defect that counts, in camera pixels
    debounce_k: int = Field(default=1, ge=1)  # an alert needs k ...
    debounce_n: int = Field(default=1, ge=1)  # ... failed parts among the last n
    max_age_s: float = Field(default=1.0, gt=0)  # a frame older than this is counted, not judged


class EngineSection(_Section):
    """What computes."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"  # ONNX Runtime's execution provider
    threads: int = Field(default=1, ge=1, le=256)
    precision: Literal["fp32"] = "fp32"


class BrokerSection(_Section):
    """Where alerts go. Without this section alerts wait in the spool."""

    host: str = Field(min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    protocol: Literal["auto", "5", "3.1.1"] = "auto"  # auto: MQTT 5, and 3.1.1 where the broker knows no better
    username: str | None = None
    password_file: Path | None = None  # a file that holds the password alone
    keepalive_s: int = Field(default=20, ge=5, le=3600)
    reconnect_min_s: float = Field(default=1.0, gt=0)
    reconnect_max_s: float = Field(default=30.0, gt=0)
    max_inflight: int = Field(default=50, ge=1, le=1000)
    ca_file: Path | None = None  # TLS with this authority
    cert_file: Path | None = None
    key_file: Path | None = None


class SpoolSection(_Section):
    """The durable outbox between the line and the broker."""

    path: Path = Path("spool.db")
    max_mb: int = Field(default=2048, ge=1)  # of messages that wait
    commit_ms: float = Field(default=10.0, ge=0, le=1000)  # how long a group commit gathers


class LogSection(_Section):
    """What stays on the device."""

    verdicts: Path | None = Path("verdicts.jsonl")  # one JSON object a part
    level: Literal["debug", "info", "warning", "error"] = "info"


class StationFile(_Section):
    """The whole station file. Relative paths are relative to the file."""

    station: StationSection
    camera: CameraSection
    inspection: InspectionSection
    engine: EngineSection = EngineSection()
    broker: BrokerSection | None = None
    spool: SpoolSection = SpoolSection()
    log: LogSection = LogSection()
