"""A verification: how a bundle's precisions agree, as one report that lies in the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_resad.bundle import Bundle, Verification, file_digest, write_verification
from edge_resad.image import fit
from export.accuracy import Labelled
from export.agreement import Agreement, agreement, judge_sample
from export.budget import FP16, INT8, misses
from export.layers import layer_differences
from export.sample import Sample
from export.way import MIXED, ways_of, why_not

SCHEMA_VERSION = 1
FRAMES = 8  # that layers are compared on
_DIGITS = 5  # after the point: fewer than what threads and compilers change

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was compared, what was found, and what of it is not within budget."""

    bundle_id: str
    samples: dict[str, int]  # parts that were judged without labels, by the sample's name
    agreements: tuple[Agreement, ...]
    layers: dict[str, dict[str, float]]  # by way and tensor: see `export.layers`
    not_run: dict[str, str]  # rungs that ONNX Runtime cannot run here, and why
    labelled: Labelled | None

    @property
    def misses(self) -> list[str]:
        """In words; nothing where all is within budget."""
        return misses(self.agreements, self.layers, self.labelled.rows if self.labelled else ())

    @property
    def beyond_budget(self) -> tuple[str, ...]:
        """The precisions and rungs that miss something."""
        rows = self.labelled.rows if self.labelled else ()

        def of(way: str) -> list[str]:
            agreements = [one for one in self.agreements if one.way == way]
            return misses(agreements, {way: self.layers.get(way, {})}, [row for row in rows if row.way == way])

        return tuple(way for way in self.layers if of(way))

    def as_json(self) -> dict[str, Any]:
        """The same for the same bundle and frames: no dates, rounded figures."""
        budgets = {"fp16": asdict(FP16), "int8": asdict(INT8)}
        found = {"schema_version": SCHEMA_VERSION, **asdict(self), "budgets": budgets, "misses": self.misses}
        rounded: dict[str, Any] = _rounded(found)
        return rounded

    @property
    def content(self) -> bytes:
        """The file's."""
        return (json.dumps(self.as_json(), indent=1, allow_nan=False) + "\n").encode()

    def summary(self, *, forced: bool) -> Verification:
        """What a manifest says of it."""
        labelled = self.labelled.images if self.labelled else 0
        return Verification(
            sha256=file_digest(self.content),
            within_budget=not self.misses,
            beyond_budget=self.beyond_budget,
            images=sum(self.samples.values()) + labelled,
            forced=forced,
        )


def compare(
    bundle: Bundle,
    samples: Sequence[Sample],
    *,
    labelled: Labelled | None = None,
    mixed: bool = False,
    threads: int = 1,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Hold every precision, and every rung of TensorRT's that ONNX Runtime can run, against FP32 on the same frames.

    Each makes its own bank of the references and judges the parts with it; `mixed` adds what it costs to judge in INT8
    with FP32's bank. Then the layers of the encoders are compared on FRAMES of the parts.

    labelled: what `export.accuracy.judge_labelled` has found, for the report.

    Raises:
        BundleError: a graph gives values that are no numbers, or ONNX Runtime cannot run a precision.
    """
    every = ways_of(bundle, mixed=mixed)
    rungs = [way for way in every if way.name not in bundle.manifest.precisions and way.name != MIXED]
    not_run = {way.name: reason for way in rungs if (reason := why_not(bundle, way)) is not None}
    ways = [way for way in every if way.name not in not_run]
    others = [way for way in ways if way.name not in ("fp32", MIXED)]
    frames = _frames(bundle, samples)
    count = _Count(progress, sum(len(sample.parts) for sample in samples) * len(ways) + len(frames) * len(others))
    agreements = []
    for sample in samples:
        expected = None
        for way in ways:
            step = count.of(f"{sample.name}, {way.name}")
            found = judge_sample(bundle, way, sample, threads=threads, step=step)
            expected = expected or found
            if found is not expected:
                agreements.append(agreement(sample.name, way.name, found, expected))
    fp32 = bundle.file(bundle.graphs("fp32").encoder)
    layers = {
        way.name: layer_differences(
            fp32, bundle.file(way.engine.encoder), frames, threads=threads, step=count.of(f"layers, {way.name}")
        )
        for way in others
    }
    return Report(
        bundle_id=bundle.manifest.bundle_id,
        samples={sample.name: len(sample.parts) for sample in samples},
        agreements=tuple(agreements),
        layers=layers,
        not_run=not_run,
        labelled=labelled,
    )


def attach(report: Report, bundle: Bundle) -> Bundle:
    """Write a report into the bundle it is about; whether its export was forced stays what it was.

    Raises:
        BundleError: the disk refuses.
    """
    before = bundle.manifest.verified
    return write_verification(bundle, report.content, report.summary(forced=before is not None and before.forced))


class _Count:
    """Counts steps over all stages."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def of(self, stage: str) -> Callable[[], None]:
        """To call after every step of this stage."""

        def step() -> None:
            self._done += 1
            self._progress(stage, self._done, self._total)

        return step


def _frames(bundle: Bundle, samples: Sequence[Sample]) -> list[Any]:
    """FRAMES parts, spread over the samples, as the encoder takes them."""
    size = bundle.manifest.image_size
    parts = [part for sample in samples for part in sample.parts]
    chosen = np.linspace(0, len(parts) - 1, min(FRAMES, len(parts))).round().astype(int)
    return [fit(parts[index], size, np.empty((size, size, 3), np.uint8)) for index in chosen]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0  # not -0.0
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
