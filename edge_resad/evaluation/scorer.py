"""A bundle as the few-shot protocol sees it: enrol references, score images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank
from edge_resad.bundle import Bundle, HeadName, Precision
from edge_resad.engine.augmentation import Wish
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector


class BundleScorer:
    """Enrols and scores with the product's own enrolment and engine, so that the figures are the product's."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        head: HeadName | None = None,
        threads: int = 1,
        precision: Precision = "fp32",
        augment: Wish = "auto",
    ) -> None:
        self._augment = augment
        self._head = head
        self._bundle = bundle
        self._threads = threads
        self._precision = precision
        self._inspector: Inspector | None = None
        self._closing = ExitStack()

    def __enter__(self) -> BundleScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Make a bank of these references and load it."""
        made = enrol(
            self._bundle, references, product="evaluation", precision=self._precision, threads=self._threads,
            augment=self._augment, head=self._head, seed=seed,
        )  # fmt: skip
        self._load(made.bank)

    def score(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Anomaly map (h, w), a view, and image score."""
        verdict = self.inspector.inspect(image)
        return self.inspector.score_map, verdict.score

    @property
    def inspector(self) -> Inspector:
        """With its thresholds; after `enrol`."""
        if self._inspector is None:
            raise ValueError("enrol references first")
        return self._inspector

    def _load(self, bank: Bank) -> None:
        if self._inspector is None:
            self._inspector = self._closing.enter_context(
                Inspector(self._bundle, bank, threads=self._threads, precision=self._precision)
            )
        else:
            self._inspector.load(bank)
