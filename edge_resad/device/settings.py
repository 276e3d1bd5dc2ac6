"""The station file: everything an operator sets for one station, in one typed TOML file."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from edge_resad.bundle import Precision
from edge_resad.engine.engine import IoMemory, Provider
from edge_resad.errors import SettingsError
from edge_resad.messages import Id

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

FilePath = Annotated[Path, Field(strict=False)]
"""A path in quotes; a relative one is relative to the station file."""

SourceKind = Literal["synthetic", "folder", "video", "v4l2", "csi", "gstreamer", "rtsp"]
SOURCES = (
    "synthetic, synthetic:FAMILY, folder:PATH, video:PATH, csi:NUMBER, gstreamer:PIPELINE, rtsp://HOST/PATH "
    'or a camera such as "/dev/video0"'
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)  # strict: "8" is not a number


class StationSection(_Section):
    """Who this station is: the address of everything it says."""

    site: Id = Field(default="site", description="first part of every topic after er/v1")
    line: Id = Field(default="line", description="second part of every topic")
    device: Id = Field(description="this station alone; also its MQTT client id")
    product: Id = Field(default="product", description="what is on the line; stands in every message")


class CameraSection(_Section):
    """Where frames come from."""

    name: Id = Field(default="cam0", description="last part of the verdicts' topic")
    source: str = Field(description=SOURCES.replace('"', "`"))
    fps: float | None = Field(
        default=None, gt=0, le=1000, description="frames per second to ask the camera for, or to play files at"
    )
    width: int | None = Field(default=None, gt=0, description="pixels to ask the camera for")
    height: int | None = Field(default=None, gt=0, description="pixels to ask the camera for")
    loop: bool = Field(default=False, description="folders and videos: begin again at the end")
    watch: bool = Field(default=False, description="folders: files that are put there from now on are the parts")
    controls: dict[str, int] = Field(
        default={}, description="of a camera under /dev: exposure, gain, trigger, as v4l2-ctl names them"
    )

    @model_validator(mode="after")
    def _can_be_opened(self) -> CameraSection:
        kind, _ = split_source(self.source)
        if self.watch and (kind != "folder" or self.loop or self.fps):
            raise ValueError("watch is of a folder: source, without loop and fps. Remove one of them")
        if self.controls and kind != "v4l2":
            raise ValueError("controls are of a camera under /dev. Remove them, or name one as source")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together: set both or neither")
        return self


class InspectionSection(_Section):
    """What is a defect, and how many failed parts make an alert."""

    bank: FilePath | None = Field(
        default=None, description="the product's reference bank, made by `edge-resad enrol`; or set [products] folder"
    )
    bundle: FilePath | None = Field(default=None, description="without it: the bundle that comes with the package")
    threshold: float | None = Field(default=None, gt=0, description="without it: the bank's own")
    min_area_px: int = Field(default=0, ge=0, description="smallest defect that counts, in pixels of the camera")
    debounce_k: int = Field(default=1, ge=1, description="an alert needs this many failed parts ...")
    debounce_n: int = Field(default=1, ge=1, description="... among this many, the last ones")
    max_age_s: float = Field(
        default=1.0, gt=0, description="a frame of a live camera older than this is counted, not judged"
    )

    @model_validator(mode="after")
    def _can_alert(self) -> InspectionSection:
        if self.debounce_k > self.debounce_n:
            raise ValueError(
                f"debounce_k is {self.debounce_k} and debounce_n is {self.debounce_n}: "
                f"{self.debounce_k} parts can never fail among {self.debounce_n}. Set debounce_n to at least "
                f"{self.debounce_k}"
            )
        return self


class ProductsSection(_Section):
    """Products with recipes, instead of one bank."""

    folder: FilePath = Field(description="the products' folder, made by `edge-resad product new`")
    use: str | None = Field(
        default=None, description="the product to begin with, while `edge-resad product use` has named none"
    )
    code: Literal["off", "qr", "barcode"] = Field(
        default="off", description="a code on the part that names its product is read from the picture"
    )
    code_needed: bool = Field(
        default=False, description="a part whose code is not found is not inspected; false: its product is that before"
    )

    @model_validator(mode="after")
    def _can_read(self) -> ProductsSection:
        if self.code_needed and self.code == "off":
            raise ValueError('code_needed is true and code is "off". Set code to what is on the parts')
        return self


class EngineSection(_Section):
    """What computes."""

    provider: Provider = Field(
        default="cpu",
        description="what runs the network: ONNX Runtime, or the engines that `edge-resad build` has built",
    )
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of the network")
    precision: Precision | None = Field(
        default=None, description="what the network computes in; without it: as the bank was made"
    )
    engines: FilePath | None = Field(
        default=None, description="TensorRT: folder of the engines; without it: where `edge-resad build` puts them"
    )
    io_memory: IoMemory = Field(
        default="auto", description="TensorRT: image and map in the GPU's memory or the host's; auto tries both"
    )


class WatchSection(_Section):
    """From where on a camera is ill. A picture that is black, white, frozen or of another size is not judged."""

    black: int = Field(default=8, ge=0, le=255, description="gray level: a picture with nothing brighter is black")
    white: int = Field(default=251, ge=0, le=255, description="gray level: a picture with nothing darker is white")
    dark: int = Field(default=20, ge=0, le=255, description="gray level: a picture with nothing brighter is too dark")
    bright: int = Field(
        default=240, ge=0, le=255, description="gray level: a picture with nothing darker is too bright"
    )
    blur: float = Field(
        default=0.3, ge=0, le=1, description="of the sharpness at the start: less is blurred; 0 watches no blur"
    )
    frozen_s: float = Field(
        default=1.0, ge=0, description="the same picture of a camera for so long is frozen; 0 watches nothing"
    )
    silent_s: float = Field(
        default=1.5, ge=0, description="a camera without a picture for so long hangs; 0 waits for ever"
    )

    @model_validator(mode="after")
    def _in_order(self) -> WatchSection:
        if not self.black <= self.dark < self.bright <= self.white:
            raise ValueError(
                f"black, dark, bright, white are {self.black}, {self.dark}, {self.bright}, {self.white}. "
                "Each must be at least as large as the one before it"
            )
        return self


class BrokerSection(_Section):
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


class SpoolSection(_Section):
    """The durable outbox between the line and the broker."""

    path: FilePath = Field(default=Path("spool.db"), description="its file; keep it on a disk that survives a reboot")
    ack: Literal["collector", "broker"] = Field(
        default="collector",
        description="whose word lets a message leave: a collector's that has stored it, or the broker's",
    )
    max_mb: int = Field(default=2048, ge=1, description="megabytes of messages that may wait")
    max_messages: int = Field(default=5_000_000, ge=1000, description="messages that may wait")
    drain_per_s: float = Field(
        default=500.0, ge=0, description="old messages sent a second, beside the new ones; 0 is as many as go"
    )
    commit_ms: float = Field(default=10.0, ge=0, le=1000, description="how long one commit gathers messages")
    thumbnails: bool = Field(default=True, description="send a small picture with every new or worse alert")


class LogSection(_Section):
    """What stays on the device."""

    verdicts: FilePath | Literal[False] = Field(
        default=Path("verdicts.jsonl"), description="one line of JSON a part; false writes none"
    )
    max_mb: int = Field(default=64, ge=1, description="megabytes before the verdicts begin a new file")
    keep: int = Field(default=3, ge=0, le=1000, description="full files of verdicts to keep")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="how much is said")


class MetricsSection(_Section):
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


class StationFile(_Section):
    """The whole station file. Relative paths are relative to the file."""

    station: StationSection
    camera: CameraSection
    inspection: InspectionSection = InspectionSection()
    products: ProductsSection | None = None
    engine: EngineSection = EngineSection()
    watch: WatchSection = WatchSection()
    broker: BrokerSection | None = None
    spool: SpoolSection = SpoolSection()
    log: LogSection = LogSection()
    metrics: MetricsSection = MetricsSection()

    @model_validator(mode="after")
    def _knows_its_product(self) -> StationFile:
        told = self.inspection
        if self.products is None:
            if told.bank is None:
                raise ValueError(
                    "[inspection] bank is missing. Set it to a bank of edge-resad enrol, or set [products] folder"
                )
            return self
        of_recipes = ("bank", "threshold", "min_area_px", "debounce_k", "debounce_n")
        twice = [key for key in of_recipes if key in told.model_fields_set]
        if twice:
            raise ValueError(
                f"[inspection] {twice[0]} is set beside [products], where it comes from the product's recipe. "
                "Remove one of them; edge-resad product change sets it in the recipe"
            )
        return self


def load_station(path: Path) -> StationFile:
    """Read a station file; every path in it comes back absolute."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"no station file at {path}. Check the path, or start from docs/station.toml") from None
    except IsADirectoryError:
        raise SettingsError(f"{path} is a folder, expected a station file such as {path / 'station.toml'}") from None
    except UnicodeDecodeError as broken:
        raise SettingsError(f"{path} is not UTF-8 text at byte {broken.start}. Save it as UTF-8") from broken
    except OSError as broken:
        raise SettingsError(f"{path} cannot be read: {broken.strerror}. Check its permissions") from broken
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise SettingsError(f"{path} is not valid TOML: {_one_line(str(broken))}") from broken
    try:
        station = StationFile.model_validate(raw)
    except ValidationError as wrong:
        raise SettingsError(f"{path}: {_sentence(wrong.errors(include_url=False))}") from wrong
    return _beside(station, path.absolute().parent)


def split_source(source: str) -> tuple[SourceKind, str]:
    """The kind of a camera's source and its argument: a path, a family of parts or nothing."""
    kind, colon, argument = source.partition(":")
    if kind == "synthetic" and (argument or not colon):
        return "synthetic", argument
    if kind == "folder" and argument:
        return "folder", argument
    if kind == "video" and argument:
        return "video", argument
    if kind == "csi" and argument.isdecimal():
        return "csi", argument
    if kind == "gstreamer" and argument.strip():
        return "gstreamer", argument.strip()
    if source.startswith(("rtsp://", "rtsps://")) and source.partition("://")[2]:
        return "rtsp", source
    if source.startswith("/dev/"):
        return "v4l2", source
    raise ValueError(f'source is "{source}", expected {SOURCES}')


def expected(section: str, key: str) -> str:
    """What a key takes, in words: `whole number, 1 to 65535`."""
    schema = StationFile.model_json_schema()
    sections = schema["properties"][section]
    name = next(part["$ref"] for part in sections.get("anyOf", [sections]) if "$ref" in part).rpartition("/")[2]
    return _in_words(schema["$defs"][name]["properties"][key])


_Model = TypeVar("_Model", bound=BaseModel)


def _beside(model: _Model, folder: Path) -> _Model:
    """The same settings with every relative path taken from `folder`."""
    changed: dict[str, object] = {}
    for key, value in model:
        if isinstance(value, BaseModel):
            changed[key] = _beside(value, folder)
        elif isinstance(value, Path):
            changed[key] = folder / value.expanduser()
        elif isinstance(model, CameraSection) and key == "source":
            kind, argument = split_source(value)
            if kind in ("folder", "video"):
                changed[key] = f"{kind}:{folder / Path(argument).expanduser()}"
    return model.model_copy(update=changed)


def _sentence(errors: list[ErrorDetails]) -> str:
    """The most telling of the errors in one line, and how many more there are."""
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")  # a misspelt key is also a missing one
    more = len({error["loc"][:2] for error in errors}) - 1
    return _one_line(_explain(first)) + (f" ({more} more after this one)" if more else "")


def _explain(error: ErrorDetails) -> str:
    section, key = (*(str(part) for part in error["loc"][:2]), "", "")[:2]
    what = f"[{section}] {key}".rstrip()
    if error["type"] == "extra_forbidden":
        return _unknown(section, key)
    if error["type"] == "missing":
        return f"{what} is missing" + (f". Set it to: {expected(section, key)}" if key else ", the section is needed")
    if error["type"] == "value_error":
        if not section:
            return str(error["ctx"]["error"])
        return f"{what} {error['ctx']['error']}"
    if not key:
        return f"{section} is {_shown(error['input'])}, expected a section [{section}]"
    return f"{what} is {_shown(error['input'])}, expected {expected(section, key)}"


def _unknown(section: str, key: str) -> str:
    if not key:
        known, what, kind = list(StationFile.model_fields), section, "section"
        if section not in known and any(section in _keys(name) for name in known):
            home = next(name for name in known if section in _keys(name))
            return f"{section} stands outside its section. Move it below [{home}]"
    else:
        known, what, kind = _keys(section), key, "key"
    near = difflib.get_close_matches(what, known, n=1)
    where = f"[{section}] {key}" if key else section
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{where} is not a known {kind}.{hint} Known: {', '.join(known)}"


def _keys(section: str) -> list[str]:
    schema = StationFile.model_fields[section].annotation
    models = [schema, *getattr(schema, "__args__", ())]
    return [key for model in models for key in getattr(model, "model_fields", ())]


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f'"{choice}"' for choice in schema["enum"])
    if "const" in schema:
        return str(schema["const"]).lower() if isinstance(schema["const"], bool) else f'"{schema["const"]}"'
    if schema.get("format") == "path":
        return "path in quotes"
    if schema.get("type") == "object":
        return "table of whole numbers such as { gain = 10 }"
    if "pattern" in schema:
        return "1 to 64 letters, digits, - or _ in quotes"
    kind = {"integer": "whole number", "number": "number", "string": "text in quotes", "boolean": "true or false"}
    return kind[schema["type"]] + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    if low is not None:
        return f", {low:g} or more"
    if above is not None:
        return f", above {above:g}" + (f" up to {high:g}" if high is not None else "")
    return ""


def _shown(value: object) -> str:
    """A value as it stands in the file, cut to what fits in a sentence."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(text: str) -> str:
    return " ".join(text.split())
