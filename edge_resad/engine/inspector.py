"""The inspector of one product: a frame in, a verdict out, in milliseconds."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank, Fusion, Rows, check_fits, filled
from edge_resad.bundle import Bundle, Precision
from edge_resad.decision import Verdict, judge
from edge_resad.engine.ahead import Ahead
from edge_resad.engine.engine import Constants, Engine, IoMemory, Provider
from edge_resad.engine.golden import TOLERANCE, Golden, fault
from edge_resad.engine.open import engine_for
from edge_resad.engine.output_check import OutputCheck
from edge_resad.errors import BankError, EngineError
from edge_resad.image import fit

PAINT = np.uint8(128)  # what the network sees of what does not count, at enrolment as at inspection


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedBank:
    """A bank as the detector takes it: loading it is copying, once to where the engine computes."""

    bank: Bank
    constants: Constants
    check: OutputCheck  # of what the engine gives with it


class Inspector:
    """Judges frames with one bundle and one bank. All its buffers are allocated on entry, but for those of parts that
    are made ready ahead; it belongs to one thread, but for what says otherwise.

    Several may share one engine, each with its own bank: the others are opened beside the first, in its thread.
    """

    def __init__(
        self,
        bundle: Bundle,
        bank: Bank,
        *,
        threads: int = 1,
        provider: Provider = "cpu",
        engines: Path | None = None,  # where `edge-resad build` put them, if not where they lie by default
        io_memory: IoMemory = "auto",
        precision: Precision | None = None,  # the bank's own
        threshold: float | None = None,
        min_area_px: int = 0,
        beside: Inspector | None = None,
    ) -> None:
        """beside: an inspector that is open, whose engine and buffers are shared until it is closed."""
        self._first = beside or self
        self._bundle = bundle
        self._bank = bank
        self._threads = threads
        self._provider: Provider = provider
        self._engines = engines
        self._io_memory: IoMemory = io_memory
        self._precision = precision or (beside.precision if beside is not None else bank.info.precision)
        self._threshold = threshold
        self._min_area_px = min_area_px
        self._in_engine: PreparedBank | None = None  # by whichever of those that share the engine
        self._own: PreparedBank | None = None
        side = bundle.manifest.image_size
        self._ahead = Ahead(lambda: np.empty((side, side, 3), np.uint8))
        self._engine: Engine
        self._image: NDArray[Any]
        self._map: NDArray[np.float32]
        self._score: NDArray[np.float32]
        self.timings: dict[str, float] = {}
        """Milliseconds of the last part's stages, in order; those of an engine with a clock are in `engine_ms` too."""

    def __enter__(self) -> Inspector:
        if self._first is not self:
            first = self._first
            self._engine, self._image, self._map, self._score = first._engine, first._image, first._map, first._score
            self.timings = self._stages()
            self._own = self.prepare(self._bank)
            self._closing = ExitStack()
            self._closing.callback(self._forget)
            return self
        opened = engine_for(
            self._bundle,
            "detector",
            self._precision,
            provider=self._provider,
            threads=self._threads,
            engines=self._engines,
            io_memory=self._io_memory,
        )
        with ExitStack() as opening:
            opening.callback(self._forget)
            engine = self._engine = opening.enter_context(opened)
            self._image = engine.inputs["image"]
            self._map = engine.outputs["map"]
            self._score = engine.outputs["score"]
            self.timings = self._stages()
            self._test()
            self.load(self._bank)
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def load(self, bank: Bank) -> None:
        """Change the product: write another bank into the engine's buffers.

        Raises:
            BankError: the bank belongs to another bundle or precision, or lost rows; the old one stays.
        """
        self.put(self.prepare(bank))

    def check(self, bank: Bank, remake: str | None = None) -> None:
        """Refuse a bank that cannot be judged by here. Needs no engine: any thread may ask at any time.

        remake: the command that makes the bank anew; without it that of a bank in a file.

        Raises:
            BankError: the bank belongs to another bundle or precision, or lost rows.
        """
        manifest = self._bundle.manifest
        channels = [level.channels for level in manifest.levels]
        check_fits(bank, manifest.bundle_id, self._precision, channels, bundle=self._bundle.named, remake=remake)
        for index, (level, rows) in enumerate(zip(manifest.levels, bank.levels, strict=True)):
            least = min(level.cells, level.capacity)
            if not least <= len(rows) <= level.capacity:
                raise BankError(
                    f"the bank of {bank.info.product!r} has {len(rows)} rows at level {index}, expected {least} to "
                    f"{level.capacity}. Make it again: {remake or 'edge-resad enrol GOOD_PARTS -o BANK'}"
                )

    def prepare(self, bank: Bank, remake: str | None = None) -> PreparedBank:
        """Make a bank ready for `put`. Touches no buffer: another thread may do it while parts are judged.

        Raises:
            BankError: as `check`.
        """
        self.check(bank, remake)
        level_norm = np.array(bank.info.level_norm, np.float32)
        inputs = bank_inputs(self._engine, self._bundle, bank.levels, level_norm, bank.info.fusion)
        return PreparedBank(bank=bank, constants=Constants(inputs), check=OutputCheck(self._image, self._map))

    def put(self, prepared: PreparedBank) -> None:
        """Change the product to a prepared bank, between two parts. Allocates at most room for it at the GPU."""
        self._first._in_engine = None  # where it fails, half of two banks may be there: nobody may judge by it
        self._engine.put(prepared.constants)
        self._bank = prepared.bank
        self._own = self._first._in_engine = prepared

    @property
    def inspector(self) -> Inspector:
        """What runs the network: others may be opened beside it."""
        return self._first

    @property
    def precision(self) -> Precision:
        """What the network computes in."""
        return self._precision

    @property
    def prepared(self) -> PreparedBank | None:
        """The bank in the engine, whoever of those that share it put it there."""
        return self._first._in_engine

    def keep_warm(self) -> None:
        """Run the network on what it has seen last, so that an idle GPU keeps its clocks up. `score_map` changes."""
        self._engine.run()

    @property
    def score_map(self) -> NDArray[np.float32]:
        """The last part's anomaly map, (h, w): a view that the next part overwrites."""
        return self._map

    @property
    def region_threshold(self) -> float:
        """The map's value from which a cell belongs to a defect."""
        return self._bank.info.threshold.region

    @property
    def threshold(self) -> float:
        """The score from which a part fails."""
        return self._bank.info.threshold.score if self._threshold is None else self._threshold

    def set_threshold(self, threshold: float) -> None:
        """Let parts fail from another score on, from the next part. From any thread."""
        self._threshold = threshold

    def fault(self, golden: Golden | None) -> str | None:
        """What is wrong with what the engine computes now, in words; None where nothing is. Between two parts.

        golden: what it must compute; None asks for numbers that depend on the image.
        """
        tolerance = TOLERANCE["int8+fp32" if self._precision == "int8" else self._precision]
        try:
            return fault(self._engine, golden, tolerance)
        finally:
            self._first._in_engine = None  # it was overwritten: whoever judges next puts its own back

    def _test(self) -> None:
        """Let an engine that gives no numbers, zeros or the same for any picture judge no part."""
        if self._provider == "tensorrt":  # which has compared itself with a run whose outputs are known
            return
        wrong = fault(self._engine, None, 0.0)
        if wrong is not None:
            raise EngineError(
                f"the {self._precision} network on {self._provider} is broken: {wrong}. Inspect in another precision, "
                "or export the bundle again."
            )

    def inspect(self, frame: NDArray[np.uint8]) -> Verdict:
        """Judge one part.

        frame: (H, W, 3) uint8, BGR, of any size.

        Raises:
            EngineError: the engine fails, or gives something that is no number: such a part is not inspected.
            ImageError:  the frame is no picture.
        """
        if self._own is not None and self._own is not self.prepared:
            self.put(self._own)
        start = time.perf_counter()
        ready = self._ahead.take(frame)
        waited_ms = 1e3 * (time.perf_counter() - start)
        score = self.look(frame if ready is None else ready)
        self.timings["resize_ms"] += waited_ms
        ran = time.perf_counter()
        verdict = judge(
            self._map,
            score,
            threshold=self.threshold,
            region=self.region_threshold,
            frame_size=frame.shape[:2],
            min_area_px=self._min_area_px,
        )
        self.timings["decide_ms"] = (time.perf_counter() - ran) * 1e3
        return verdict

    def make_ready(self, frame: NDArray[np.uint8]) -> None:
        """Scale a part that is to be judged soon, while another one is. Belongs to one other thread; needs no engine.

        frame: (H, W, 3) uint8, BGR. Its pixels must stay as they are until it is judged.

        Raises:
            ImageError: the frame is no picture, as `inspect` will say too.
        """
        self._ahead.fill(frame, lambda room: self.see(frame, None, room))

    def see(self, picture: NDArray[np.uint8], paint: NDArray[np.bool_] | None, out: NDArray[np.uint8]) -> None:
        """Turn a picture into what the network sees of it.

        picture: (H, W, 3) uint8, BGR, of any size.
        paint:   (S, S, 1) True where the network is to see grey instead, S the side of its input.
        out:     (S, S, 3) overwritten.

        Raises:
            ImageError: the picture is none.
        """
        fit(picture, self._bundle.manifest.image_size, out)
        if paint is not None:
            np.copyto(out, PAINT, where=paint)

    def look(self, picture: NDArray[np.uint8], paint: NDArray[np.bool_] | None = None) -> float:
        """The score of a picture, without a verdict; its map is in `score_map`.

        picture, paint: see `see`; what was made by it is only copied.

        Raises:
            EngineError: the engine fails, or gives something that is no number.
            ImageError:  the frame is no picture.
        """
        start = time.perf_counter()
        self.see(picture, paint, self._image)
        fitted = time.perf_counter()
        self._engine.run()
        self.timings["resize_ms"] = (fitted - start) * 1e3
        self.timings["engine_ms"] = (time.perf_counter() - fitted) * 1e3
        self.timings.update(self._engine.timings)
        score = float(self._score)
        bank = self.prepared
        wrong = None if bank is None else bank.check.wrong(self._image, score, self._map)
        if wrong is not None:
            raise EngineError(
                f"the {self._precision} network {wrong}: this part is not inspected. Where that goes on although the "
                "engine is opened again, inspect in another precision, or export the bundle again."
            )
        return score

    def _stages(self) -> dict[str, float]:
        return {"resize_ms": 0.0, "engine_ms": 0.0, **dict.fromkeys(self._engine.timings, 0.0), "decide_ms": 0.0}

    def _forget(self) -> None:
        """Views of memory that the engine has given back."""
        for name in ("_engine", "_image", "_map", "_score"):
            if hasattr(self, name):
                delattr(self, name)


def write_bank(
    engine: Engine,
    bundle: Bundle,
    levels: tuple[Rows, ...],
    level_norm: NDArray[np.float32],
    fusion: Fusion,
) -> None:
    """Write a bank into a detector's inputs, as far as its graph has them.

    Rows are repeated to the bank's capacity, raw or unit as the graph asks.
    """
    engine.put(Constants(bank_inputs(engine, bundle, levels, level_norm, fusion)))


def bank_inputs(
    engine: Engine, bundle: Bundle, levels: tuple[Rows, ...], level_norm: NDArray[np.float32], fusion: Fusion
) -> dict[str, NDArray[np.float32]]:
    """What a bank is in a detector's inputs, by name. Only looks at what inputs there are."""
    inputs = {"level_norm": level_norm}
    if "fusion" in engine.inputs:  # the graph has several heads
        inputs["fusion"] = np.array(fusion, np.float32)
    for index, (level, rows) in enumerate(zip(bundle.manifest.levels, levels, strict=True)):
        full = filled(rows, level.capacity)
        if f"bank_{index}" in engine.inputs:
            inputs[f"bank_{index}"] = full
        if f"bank_unit_{index}" in engine.inputs:
            unit = full / np.maximum(np.linalg.norm(full, axis=1, keepdims=True), 1e-12)
            inputs[f"bank_unit_{index}"] = np.asarray(unit, np.float32)
    return inputs
