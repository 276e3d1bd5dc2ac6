"""The inspector of products with recipes: regions of interest, masks, alignment, and a changeover between two parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import Bundle, Precision
from edge_resad.decision import NotInspected, Region, Status, Verdict, judge
from edge_resad.engine.alignment import Aligner, Place
from edge_resad.engine.canvas import Canvas
from edge_resad.engine.cutout import Cutout, Matrix
from edge_resad.engine.engine import IoMemory, Provider
from edge_resad.engine.inspector import Inspector, PreparedBank
from edge_resad.engine.sight import Foresight, Sight, aligned
from edge_resad.errors import BankError, ProductError
from edge_resad.image import check_frame
from edge_resad.recipe import Product, product_command

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyProduct:
    """A product with all that judging takes: from here the changeover is one step."""

    product: Product
    cutouts: tuple[Cutout, ...]
    banks: tuple[PreparedBank, ...]  # of each cutout; the same one where regions share it
    aligner: Aligner | None
    canvas: Canvas | None  # None: the map of the one region is that of the frame
    cells: NDArray[np.float32]  # (h, w) scratch for a region's map


class ProductInspector:
    """Judges frames by a product. The engine stays the same whatever the product; it belongs to one thread.

    Values of regions after the first are scaled so that their thresholds are those of the first: one score, one map and
    one threshold say all of a part.
    """

    def __init__(
        self,
        bundle: Bundle,
        product: Product,
        *,
        threads: int = 1,
        provider: Provider = "cpu",
        engines: Path | None = None,  # where `edge-resad build` put them, if not where they lie by default
        io_memory: IoMemory = "auto",
        precision: Precision | None = None,  # that of the product's first bank
        beside: Inspector | None = None,
    ) -> None:
        """beside: an inspector that is open, whose engine is shared until it is closed."""
        self._bundle = bundle
        self._first = product
        self._inspector = Inspector(
            bundle,
            product.bank_of(0),
            threads=threads,
            provider=provider,
            engines=engines,
            io_memory=io_memory,
            precision=precision,
            beside=beside,
        )
        self.timings: dict[str, float] = {}
        """Milliseconds of the last part's stages, of all its regions together; see `Inspector.timings`."""
        self._place: Place | None = None

    def __enter__(self) -> ProductInspector:
        self.check(self._first)
        with _as_of(self._first):
            self._inspector.__enter__()
        self.timings = {"align_ms": 0.0, **self._inspector.timings}
        try:
            self.load(self.prepare(self._first))
        except BaseException:
            self._inspector.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inspector.__exit__(kind, error, trace)

    def check(self, product: Product) -> None:
        """Refuse a product whose banks cannot be judged by here. Needs no engine: any thread may ask at any time.

        Raises:
            ProductError: a bank belongs to another bundle or precision, or lost rows.
        """
        with _as_of(product):
            for bank in product.banks.values():
                self._inspector.check(bank, _remake(product))

    def prepare(self, product: Product) -> ReadyProduct:
        """Make a product ready to judge. Another thread may do it while parts are judged by the one before.

        Raises:
            ProductError: a bank belongs to another bundle or precision, or nothing of a region counts.
        """
        recipe = product.recipe
        with _as_of(product):
            banks = {name: self._inspector.prepare(bank, _remake(product)) for name, bank in product.banks.items()}
        cutouts = tuple(cutouts_of(product, self._bundle.manifest.image_size))
        plain = len(cutouts) == 1 and recipe.regions[0].box is None and recipe.alignment is None
        return ReadyProduct(
            product=product,
            cutouts=cutouts,
            banks=tuple(banks[roi.bank] for roi in recipe.regions),
            aligner=aligner_of(product),
            canvas=None if plain or recipe.picture_px is None else Canvas(recipe.picture_px),
            cells=np.zeros_like(self._inspector.score_map),
        )

    def load(self, ready: ReadyProduct) -> None:
        """Change the product, between two parts. Builds nothing; allocates at most room for banks at the GPU."""
        for bank in reversed(ready.banks):  # all of them now: the first part shall not wait for their way to the GPU
            self._put(bank)
        product, side = ready.product, self._bundle.manifest.image_size
        self._ready = ready
        self._place = None
        self._foresight = Foresight(
            len(ready.cutouts), side, self._inspector.see, lambda: (aligner_of(product), cutouts_of(product, side))
        )

    @property
    def inspector(self) -> Inspector:
        """What runs the network: others may be opened beside it."""
        return self._inspector

    def keep_warm(self) -> None:
        """Run the network on what it has seen last, so that an idle GPU keeps its clocks up."""
        self._inspector.keep_warm()

    @property
    def product(self) -> Product:
        """The product that judges."""
        return self._ready.product

    @property
    def score_map(self) -> NDArray[np.float32]:
        """The last part's anomaly map, (h, w) over the whole frame: a view that the next part overwrites."""
        return self._ready.cells if self._ready.canvas is None else self._ready.canvas.map

    @property
    def place(self) -> Place | None:
        """Where the last part lay; None where parts are not aligned."""
        return self._place

    @property
    def region_threshold(self) -> float:
        """The map's value from which a cell belongs to a defect."""
        return self.product.bank_of(0).info.threshold.region

    def make_ready(self, frame: Image) -> None:
        """Align, cut out and scale a part that is to be judged soon, while another one is, as the product in use says.

        Belongs to one other thread. frame: as `inspect` takes it; its pixels must stay as they are until it is judged.

        Raises:
            NotInspected: the frame has another size, as `inspect` will say too, which says all else that is wrong.
            ImageError:   the frame is no picture.
        """
        check_frame(frame)
        check_size(frame, self.product.recipe.picture_px)
        self._foresight.make_ready(frame)

    def inspect(self, frame: Image) -> Verdict:
        """Judge one part.

        frame: (H, W, 3) uint8, BGR, as large as the recipe says.

        Raises:
            NotInspected: the frame has another size, or the part cannot be aligned.
            EngineError:  the engine fails, or gives something that is no number.
            ImageError:   the frame is no picture.
        """
        ready, recipe = self._ready, self.product.recipe
        self._place = None
        check_frame(frame)
        check_size(frame, recipe.picture_px)
        start = time.perf_counter()
        sight = self._foresight.take(frame)
        if sight is not None and sight.refusal is not None:
            raise sight.refusal
        to_frame, self._place = aligned(ready.aligner, frame) if sight is None else (sight.to_frame, sight.place)
        for stage in self.timings:
            self.timings[stage] = 0.0
        self.timings["resize_ms" if ready.aligner is None else "align_ms"] = 1e3 * (time.perf_counter() - start)
        if ready.canvas is not None:
            ready.canvas.clear()
        verdicts = []
        for index in range(len(ready.cutouts)):
            verdicts.append(self._judged(index, frame, to_frame, sight))
        start = time.perf_counter()
        if ready.canvas is not None:
            ready.canvas.finish(to_frame)
        verdict = self._together(verdicts)
        self.timings["decide_ms"] += 1e3 * (time.perf_counter() - start)
        return verdict

    def _judged(self, index: int, frame: Image, to_frame: Matrix | None, sight: Sight | None) -> Verdict:
        """What one region says, in the first one's scale and in the frame's pixels."""
        ready, product = self._ready, self.product
        cutout, threshold = ready.cutouts[index], product.threshold_of(index)
        start = time.perf_counter()
        if sight is None:
            picture, paint = cutout.take(frame, to_frame), cutout.paint
        else:
            picture, paint = sight.images[index], None
        taken = time.perf_counter()
        self._put(ready.banks[index])
        score = self._inspector.look(picture, paint)
        ran = time.perf_counter()
        cells = cutout.masked(self._inspector.score_map, ready.cells)
        level = product.bank_of(index).info.threshold.region
        scale = self.region_threshold / level
        if ready.canvas is not None and cutout.box is not None:
            ready.canvas.add(cells, cutout.box, scale)
        if cutout.paint is not None and score >= threshold and cells.max() <= 0:  # all of it is where nothing counts
            verdict = Verdict(status="pass", score=score, threshold=threshold, regions=())
        else:
            verdict = judge(
                cells, score, threshold=threshold, region=level, frame_size=cutout.size_on(frame),
                min_area_px=product.recipe.least_area_px,
            )  # fmt: skip
        verdict = replace(
            verdict,
            score=verdict.score * (product.threshold_of(0) / threshold),
            threshold=product.threshold_of(0),
            region_threshold=None if verdict.region_threshold is None else verdict.region_threshold * scale,
            regions=tuple(self._on_frame(found, cutout, to_frame, scale) for found in verdict.regions),
        )
        for stage, milliseconds in self._inspector.timings.items():
            if stage != "decide_ms":  # it decided nothing: that is done here
                self.timings[stage] += milliseconds
        self.timings["resize_ms"] += 1e3 * (taken - start)
        self.timings["decide_ms"] += 1e3 * (time.perf_counter() - ran)
        return verdict

    def _on_frame(self, found: Region, cutout: Cutout, to_frame: Matrix | None, scale: float) -> Region:
        region = replace(cutout.on_frame(found, to_frame), peak=found.peak * scale)
        per_px = self.product.recipe.mm_per_px
        if per_px is None:
            return region
        size_mm = (found.box[2] * per_px, found.box[3] * per_px)  # as the product's picture lies, not the part
        left, top = (0, 0) if cutout.box is None else cutout.box[:2]
        outline = tuple(((x + left) * per_px, (y + top) * per_px) for x, y in found.polygon)
        return replace(region, area_mm2=found.area_px * per_px**2, size_mm=size_mm, polygon_mm=outline)

    def _together(self, verdicts: list[Verdict]) -> Verdict:
        """One verdict of all regions': a part fails where one of them does."""
        failed = [one for one in verdicts if one.status == "fail"]
        status: Status = "fail" if failed else "pass"
        levels = [one.region_threshold for one in failed or verdicts if one.region_threshold is not None]
        severity, product = self.product.recipe.severity, self.product
        return Verdict(
            status=status,
            score=max(one.score for one in failed or verdicts),
            threshold=product.threshold_of(0),
            regions=tuple(
                sorted((found for one in failed for found in one.regions), key=lambda found: found.peak, reverse=True)
            ),
            region_threshold=min(levels) if levels else None,
            product=product.recipe.product,
            product_version=product.version,
            severity_classes=(severity.major, severity.critical),
        )

    def _put(self, bank: PreparedBank) -> None:
        if bank is not self._inspector.prepared:  # a region, or another camera, has its own
            self._inspector.put(bank)


def cutouts_of(product: Product, side: int) -> list[Cutout]:
    """The cutouts of a product's regions. side: pixels of both sides of the network's input."""
    recipe = product.recipe
    return [
        Cutout(roi, product.ignore, picture_px=recipe.picture_px, side=side, aligned=recipe.alignment is not None)
        for roi in recipe.regions
    ]


def aligner_of(product: Product) -> Aligner | None:
    """What aligns the product's parts; None where nothing does."""
    if product.recipe.alignment is None or product.reference is None:
        return None
    return Aligner(product.reference, product.recipe.alignment)


def check_size(frame: Image, picture_px: tuple[int, int] | None) -> None:
    """Refuse a frame on which the product's regions would lie elsewhere."""
    if picture_px is not None and frame.shape[1::-1] != picture_px:
        raise NotInspected(
            "wrong_size",
            f"the frame is {frame.shape[1]} x {frame.shape[0]} px, the product's picture is {picture_px[0]} x "
            f"{picture_px[1]} px. Set the camera's width and height, or make the product again",
        )


@contextmanager
def _as_of(product: Product) -> Iterator[None]:
    """What is wrong with a bank, as what is wrong with its product."""
    try:
        yield
    except BankError as error:
        raise ProductError(f"{product.label} cannot be used here: {error}") from error


def _remake(product: Product) -> str:
    """The command that makes a product's banks anew."""
    return product_command(f"change {product.recipe.product} --good GOOD_PARTS", product.shelf)
