"""The reference bank of one product: patches of good parts, and what is normal among them."""

from __future__ import annotations

import io
import json
import shlex
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from edge_resad.bundle import HeadName, Precision
from edge_resad.errors import BankError
from edge_resad.whole_file import write_whole

SCHEMA_VERSION = 2
MOST_BYTES = 2**30  # of a bank in memory: larger than any, and less than a device has
Rows = NDArray[np.float32]
Fusion = tuple[float, float, float, float]
"""b, a, h0, H0: score = nn^b exp(a (h - h0)), map = nn^b exp(a (H - H0)), where nn is what the nearest reference gives,
h and H are the learned head's logits of the part and of its cells, h0 and H0 those of good parts."""


class GoodScores(BaseModel):
    """What good parts score, on the logarithm: what a threshold was estimated from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    spread: float  # deviation of parts: the scores' own pooled with what is usual
    freedom: int  # degrees of freedom that the spread rests on
    samples: int  # scores that the mean rests on


REESTIMATE = "edge-resad threshold BANK GOOD_PARTS"
"""The command by which a promise says that more good parts would give a better one; of a bank in a file."""


class Threshold(BaseModel):
    """The score from which a part fails, and what it promises."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: float
    region: float  # value of the anomaly map from which a cell belongs to a defect
    how: Literal["references", "good parts", "by hand"]
    samples: int  # scores of good parts that it rests on
    false_alarm_rate: float | None  # what was aimed at; None: by hand
    promise: str  # in words, for people
    good: GoodScores | None = None  # None: by hand, or a bank of before


AugmentationMode = Literal["none", "flips", "rotations"]


class Augmentation(BaseModel):
    """Which copies of the references are in a bank, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: AugmentationMode
    reason: str  # in words, for people


class BankInfo(BaseModel):
    """Where a bank comes from and which bundle it belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    product: str
    bundle_id: str
    precision: Precision
    references: tuple[str, ...]  # sha256 of every reference image, in order
    augmentation: Augmentation
    level_norm: tuple[tuple[float, float], ...]  # per level: its share over mean, over mean top distance of good parts
    head: HeadName
    fusion: Fusion
    threshold: Threshold
    made_by: str  # our version


@dataclass(frozen=True, kw_only=True)
class Bank:
    """One product's references.

    levels: per level (R_l, C_l) float32 raw features, R_l at most the bundle's capacity.
    """

    info: BankInfo
    levels: tuple[Rows, ...]
    file: Path | None = field(default=None, compare=False)  # where it was read from, for those who are told of it


def save_bank(bank: Bank, path: Path) -> None:
    """Write one bank as one file, whole or not at all.

    Raises:
        BankError: the file cannot be written, or holds something that is no bank.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise BankError(f"{path} is there and is no bank: it stays as it is. Name another file for the bank.")
    try:
        write_whole(path, bank_content(bank))
    except OSError as error:
        raise BankError(f"cannot write the bank {path}: {error.strerror or error}. Check space and rights.") from error


def bank_content(bank: Bank) -> bytes:
    """The bytes of a bank's file."""
    content = io.BytesIO()
    arrays: dict[str, NDArray[Any]] = {f"level_{index}": rows for index, rows in enumerate(bank.levels)}
    arrays["info"] = np.frombuffer(bank.info.model_dump_json().encode(), np.uint8)
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def load_bank(path: Path, *, remake: str | None = None) -> Bank:
    """Read a bank.

    remake: the command that makes it anew; without it that of a bank in a file.

    Raises:
        BankError: no such file, not a bank, damaged, of another schema, or nothing can be judged with it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BankError(f"no bank at {path}. Make one from good parts: {remake or _enrol(path)}") from None
    except OSError as error:
        raise BankError(
            f"{path} is not a bank or is damaged ({error}). Make it again: {remake or _enrol(path)}"
        ) from error
    return replace(read_bank(content, path, remake=remake), file=path)


def read_bank(content: bytes, path: object, *, remake: str | None = None) -> Bank:
    """A bank from the bytes of its file.

    path:   what to call the file where it is no bank.
    remake: the command that makes it anew; without it that of a bank in a file.

    Raises:
        BankError: not a bank, damaged, of another schema, or nothing can be judged with it.
    """
    file, again = io.BytesIO(content), remake or _enrol(path)
    try:
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("not a zip archive")  # NumPy would take a bare array, or look for a pickle
        with zipfile.ZipFile(file) as entries:
            if sum(entry.file_size for entry in entries.infolist()) > MOST_BYTES:
                raise zipfile.BadZipFile("larger than any bank")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            raw = json.loads(archive["info"].tobytes())
            count = len(archive.files) - 1
            levels = tuple(np.ascontiguousarray(archive[f"level_{index}"], np.float32) for index in range(count))
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise BankError(f"{path} is not a bank or is damaged ({error}). Make it again: {again}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BankError(
            f"{path} is a bank of schema {version}, this release reads schema {SCHEMA_VERSION}. Make it again: {again}"
        )
    try:
        bank = Bank(info=BankInfo.model_validate(raw), levels=levels)
    except ValidationError as error:
        raise BankError(
            f"{path} does not describe itself as a bank ({error.errors()[0]['msg']}). Make it again: {again}"
        ) from error
    wrong = _unusable(bank)
    if wrong is not None:
        raise BankError(f"nothing can be judged with the bank {path}: {wrong}. Make it again: {again}")
    return bank


def _enrol(path: object) -> str:
    return f"edge-resad enrol GOOD_PARTS -o {shlex.quote(str(path))}"


def _unusable(bank: Bank) -> str | None:
    """Why no part can be judged with this bank; None where it can."""
    info = bank.info
    if not bank.levels or len(bank.levels) != len(info.level_norm):
        return f"it has {len(bank.levels)} levels and constants of {len(info.level_norm)}"
    for index, rows in enumerate(bank.levels):
        if rows.ndim != 2 or not rows.size:
            return f"level {index} holds no references"
        if not np.isfinite(rows).all():
            return f"level {index} holds values that are no numbers"
    if not all(np.isfinite(value) and value > 0 for norms in info.level_norm for value in norms):
        return "its levels' constants must be above 0"
    b, a, *_ = info.fusion
    if (b > 0, a > 0) != (info.head != "resad", info.head != "nn"):
        return f"its fusion {info.fusion} is not that of head {info.head}"
    if not all(np.isfinite(value) and value > 0 for value in (info.threshold.score, info.threshold.region)):
        return "its threshold must be above 0"
    return None


def check_fits(
    bank: Bank,
    bundle_id: str,
    precision: Precision,
    channels: Sequence[int],
    *,
    bundle: Path | None = None,
    remake: str | None = None,
) -> None:
    """Refuse a bank that was made with another bundle or another precision.

    bundle: the bundle's folder, where it is not the one that comes with the package.
    remake: the command that makes the bank anew; without it that of a bank in a file.

    Raises:
        BankError: with the command that makes it anew.
    """
    info = bank.info
    again = remake or _enrol(bank.file or "BANK")
    again += f" --precision {precision}" + (f" --bundle {shlex.quote(str(bundle))}" if bundle else "")
    if info.bundle_id != bundle_id or [rows.shape[1] for rows in bank.levels] != list(channels):
        raise BankError(
            f"the bank of {info.product!r} belongs to another bundle ({info.bundle_id[:12]}..., this one is "
            f"{bundle_id[:12]}...). Distances mean something else there. Make the bank again with this bundle: {again}"
        )
    if info.precision != precision:
        raise BankError(
            f"the bank of {info.product!r} was made in {info.precision}, the engine runs {precision}. "
            f"Make the bank again in {precision}, so that rounding cancels: {again}"
        )


def filled(rows: Rows, capacity: int) -> Rows:
    """Repeat rows (R, C) in turn until there are `capacity` of them: ties change nothing, zeros would."""
    if len(rows) > capacity:
        raise ValueError(f"{len(rows)} rows do not fit a bank of {capacity}: reduce them first")
    return rows[np.arange(capacity) % len(rows)]


def coreset(rows: Rows, capacity: int, seed: int = 0) -> NDArray[np.intp]:
    """Choose rows that stand for all: greedy k-centre on cosine distance, PatchCore's reduction, seeded.

    rows:    (R, C) float32.
    returns: at most `capacity` indices; all of them, in order, where they fit. Time O(R C capacity), memory O(R C).
    """
    if len(rows) <= capacity:
        return np.arange(len(rows))
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    chosen = np.empty(capacity, np.intp)
    chosen[0] = np.random.default_rng(seed).integers(len(rows))
    closest = unit @ unit[chosen[0]]  # (R,), cosine to the nearest chosen row
    similarity = np.empty_like(closest)
    for index in range(1, capacity):
        chosen[index] = closest.argmin()
        np.matmul(unit, unit[chosen[index]], out=similarity)
        np.maximum(closest, similarity, out=closest)
    return chosen
