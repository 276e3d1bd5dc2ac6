"""Ranges: what the activations of real frames reach; `python -m calibration` writes them, the export reads them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from edge_resad.errors import CalibrationError
from edge_resad.model.profile import Profile
from edge_resad.whole_file import write_whole

Method = Literal["max", "percentile", "mse", "entropy"]
Dialect = Literal["tensorrt", "onnxruntime"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Part):
    """What a tensor's values lie in, but for what the method cuts off, and what its channels are on average."""

    low: float
    high: float
    means: tuple[float, ...]  # of every channel, over all frames

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low <= self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")
        return self


class Ranges(_Part):
    """Ranges of the encoder's tensors, and where they come from."""

    schema_version: Literal[1] = 1
    method: Method
    profile: str
    image_size: int  # pixels, of the network's input
    backbone_sha256: str  # of the network that was watched
    images: tuple[str, ...]  # sha256 of every image's pixels
    tensors: dict[str, Range]
    layers: dict[Dialect, dict[str, float]]  # what quantising a layer alone costs: see `calibration.sensitivity`

    @property
    def sha256(self) -> str:
        """Of everything in it."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def own_ranges(profile: Profile) -> Path | None:
    """The file of ranges that comes with the project, found on drawn parts; None where nobody has calibrated."""
    file = Path(__file__).parent / "calibrated" / f"{profile.name}.json"
    return file if file.exists() else None


def load_ranges(path: Path) -> Ranges:
    """Read a file of ranges.

    Raises:
        CalibrationError: missing, or not what `python -m calibration` writes.
    """
    try:
        return Ranges.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationError(
            f"cannot read {path}: {error.strerror or error}. Expected a file that python -m calibration has written."
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is no text"
        raise CalibrationError(
            f"{path} is no file of ranges ({first}). Write one: python -m calibration ranges GOOD_PARTS --out "
            "RANGES.json."
        ) from error


def save_ranges(ranges: Ranges, path: Path) -> None:
    """Write a file of ranges as a whole or not at all.

    Raises:
        CalibrationError: the disk refuses.
    """
    try:
        write_whole(path, (ranges.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        raise CalibrationError(f"cannot write {path}: {error.strerror or error}. Check space and rights.") from error
