"""`edge-resad product VERB`: products with recipes, their versions, and which one is on the line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from edge_resad.errors import ProductError
from edge_resad.options import BundleOption, EnginesOption, FalseAlarmRateOption, ProviderOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from edge_resad.bank import Bank
    from edge_resad.recipe import Choice, Product, Recipe, Shelf

product_app = typer.Typer(no_args_is_help=True, help="Products with recipes: regions, masks, thresholds, versions.")

FolderOption = Annotated[Path, typer.Option("--products", help="The folder of products.")]
ChosenArgument = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A product; without @ its newest.")]
GoodOption = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
    typer.Option("--good", help="Pictures of good parts as the camera gives them: a folder or files."),
]
BankOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--bank", help="Instead of --good, a bank of edge-resad enrol: for the whole picture, with no mask."),
]
RoiOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--roi", help="[NAME=]X,Y,WIDTH,HEIGHT in pixels, or three or more corners as X,Y,X,Y,X,Y; several times."
    ),
]
AlikeOption = Annotated[bool, typer.Option("--alike", help="Regions that look alike: one bank for all.")]
IgnoreOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--ignore", help="A picture as large as the camera's: where it is not black, nothing counts."),
]
AlignOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--align", help="The reference picture to which parts are moved and turned."),
]
ShiftOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--max-shift-px", help="A part further from the reference is not inspected; 100 without it."),
]
TurnOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--max-turn-deg", help="A part turned by more is not inspected; 20 without it."),
]
LikenessOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--min-likeness", help="A part less like the reference is not inspected, 0 to 1; 0.7 without it."),
]
ThresholdOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--threshold", help="[NAME=]SCORE of a region, or of all; bank: the bank's own. Several times."),
]
MoreOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--threshold-from", help="More good parts, as the camera gives them: the banks' thresholds are estimated anew."
    ),
]
ScaleOption = Annotated[Optional[float], typer.Option("--mm-per-px", help="Millimetres a pixel.")]  # noqa: UP045
AreaOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--min-area-px", help="Smallest defect that counts, pixels of the camera."),
]
AreaMmOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--min-area-mm2", help="Smallest defect that counts, square millimetres."),
]
DebounceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--debounce", metavar="K/N", help="K failed parts among the last N make an alert."),
]
SeverityOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--severity", metavar="MAJOR,CRITICAL", help="Where they begin, times the threshold; 1.25,1.75."),
]
CodeOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--code", help="What a code on its parts says; several times."),
]
WithoutOption = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer takes no list of a Literal
    typer.Option("--without", help="Take away: regions, ignore, align, scale or codes; several times."),
]
NoteOption = Annotated[str, typer.Option("--note", help="Why this version is made.")]
PrecisionOption = Annotated[
    Literal["fp32", "fp16", "int8"], typer.Option("--precision", help="What the network computes in.")
]
OwnPrecisionOption = Annotated[
    Optional[Literal["fp32", "fp16", "int8"]],  # noqa: UP045
    typer.Option("--precision", help="What the network computes in; without it, what it did before."),
]


@product_app.command(name="list")
def list_products(products: FolderOption = Path("products")) -> None:
    """List the products, their versions, and which one is on the line."""
    from edge_resad.recipe import Shelf

    shelf = Shelf(products)
    used = shelf.in_use()
    names = shelf.names()
    for name in names:
        versions = shelf.versions(name)
        try:
            note = shelf.recipe(shelf.find(name)).note
        except ProductError as damaged:
            note = f"damaged: {damaged}"
        in_use = f"  in use: {used}" if used is not None and used.product == name else ""
        count = "1 version" if len(versions) == 1 else f"{len(versions)} versions"
        print(f"{name}  {count}, newest {versions[-1]}{in_use}{f'  {note}' if note else ''}")
    if not names:
        print(f"no products in {products}. Make one: {shelf.command('new NAME --good GOOD_PARTS')}")


@product_app.command()
def show(name: ChosenArgument, products: FolderOption = Path("products")) -> None:
    """Show all that a product's recipe sets."""
    from edge_resad.recipe import Shelf

    shelf = Shelf(products)
    _print_product(shelf.open(shelf.find(name)))


@product_app.command()
def diff(
    old: ChosenArgument,
    new: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="NAME[@VERSION]", help="Without it, OLD's newest version."),
    ] = None,
    products: FolderOption = Path("products"),
) -> None:
    """Say what is different between two versions, or two products."""
    from edge_resad.recipe import Shelf, differences

    shelf = Shelf(products)
    before = shelf.open(shelf.find(old))
    after = shelf.open(shelf.find(new or before.recipe.product))
    print(f"{before.label} -> {after.label}")
    for line in differences(before, after) or ["no difference"]:
        print(f"  {line}")


@product_app.command()
def use(
    name: ChosenArgument,
    products: FolderOption = Path("products"),
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Of another precision or bundle too, for a station that is started after this."),
    ] = False,
) -> None:
    """Put a product on the line: a running station changes to it within a second, between two parts."""
    from edge_resad.recipe import Shelf

    shelf = Shelf(products)
    chosen = shelf.find(name)
    before = shelf.in_use()
    if before is not None and not anyway:
        _check_changes(shelf, before, chosen)
    shelf.use(chosen)
    was = "" if before is None or before == chosen else f", after {before}"
    print(f"in use: {chosen}{was}")


def _check_changes(shelf: Shelf, before: Choice, chosen: Choice) -> None:
    """Refuse what no running station can change to: one engine judges all its products."""
    new = shelf.open(chosen).bank_of(0).info
    try:
        old = shelf.open(before).bank_of(0).info
    except ProductError:  # it is gone or damaged, so that nothing judges by it
        return
    for what, theirs, ours, option in (
        ("bundle", new.bundle_id[:12], old.bundle_id[:12], "--bundle BUNDLE"),
        ("precision", new.precision, old.precision, f"--precision {old.precision}"),
    ):
        if theirs != ours:
            raise ProductError(
                f"{chosen} is of {what} {theirs}, {before}, which is in use, of {what} {ours}: a station that runs "
                "cannot change from one to the other. Make it again: "
                f"{shelf.command(f'change {chosen.product} --good GOOD_PARTS {option}')}. "
                f"Or, for one that starts after this: {shelf.command(f'use {chosen} --anyway')}."
            )


@product_app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name: letters, digits, - and _.")],
    good: GoodOption = None,
    bank: BankOption = None,
    roi: RoiOption = None,
    alike: AlikeOption = False,
    ignore: IgnoreOption = None,
    align: AlignOption = None,
    max_shift_px: ShiftOption = None,
    max_turn_deg: TurnOption = None,
    min_likeness: LikenessOption = None,
    threshold: ThresholdOption = None,
    mm_per_px: ScaleOption = None,
    min_area_px: AreaOption = None,
    min_area_mm2: AreaMmOption = None,
    debounce: DebounceOption = None,
    severity: SeverityOption = None,
    code: CodeOption = None,
    note: NoteOption = "",
    precision: PrecisionOption = "fp32",
    false_alarm_rate: FalseAlarmRateOption = 0.05,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    bundle: BundleOption = None,
    products: FolderOption = Path("products"),
) -> None:
    """Make a product from pictures of good parts: its regions are enrolled as the station will see them."""
    from edge_resad.recipe import Shelf

    shelf = Shelf(products)
    if name in shelf.names():
        raise ProductError(
            f"there is a product {name} in {products}. Change it: {shelf.command(f'change {name}')}, or choose "
            "another name."
        )
    wishes = _Wishes(
        good=good, bank=bank, roi=roi, alike=alike, ignore=ignore, align=align, max_shift_px=max_shift_px,
        max_turn_deg=max_turn_deg, min_likeness=min_likeness, threshold=threshold, mm_per_px=mm_per_px,
        min_area_px=min_area_px, min_area_mm2=min_area_mm2, debounce=debounce, severity=severity, code=code, note=note,
        precision=precision, false_alarm_rate=false_alarm_rate, provider=provider, engines=engines,
        bundle=bundle,
    )  # fmt: skip
    made = _made(shelf, name, None, wishes)
    _print_product(made)
    print(f"put it on the line: {shelf.command(f'use {made.label}')}")


@product_app.command()
def change(
    name: ChosenArgument,
    good: GoodOption = None,
    bank: BankOption = None,
    roi: RoiOption = None,
    alike: AlikeOption = False,
    ignore: IgnoreOption = None,
    align: AlignOption = None,
    max_shift_px: ShiftOption = None,
    max_turn_deg: TurnOption = None,
    min_likeness: LikenessOption = None,
    threshold: ThresholdOption = None,
    threshold_from: MoreOption = None,
    mm_per_px: ScaleOption = None,
    min_area_px: AreaOption = None,
    min_area_mm2: AreaMmOption = None,
    debounce: DebounceOption = None,
    severity: SeverityOption = None,
    code: CodeOption = None,
    without: WithoutOption = None,
    note: NoteOption = "",
    precision: OwnPrecisionOption = None,
    false_alarm_rate: FalseAlarmRateOption = 0.05,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    bundle: BundleOption = None,
    products: FolderOption = Path("products"),
) -> None:
    """Make a new version of a product that differs in what is given; the versions before it stay.

    Regions, masks, alignment and precision need --good again, for the banks see through them.
    """
    from edge_resad.recipe import Shelf, differences

    shelf = Shelf(products)
    old = shelf.open(shelf.find(name))
    wishes = _Wishes(
        good=good, bank=bank, roi=roi, alike=alike, ignore=ignore, align=align, max_shift_px=max_shift_px,
        max_turn_deg=max_turn_deg, min_likeness=min_likeness, threshold=threshold, mm_per_px=mm_per_px,
        min_area_px=min_area_px, min_area_mm2=min_area_mm2, debounce=debounce, severity=severity, code=code, note=note,
        without=without, threshold_from=threshold_from,
        precision=precision or old.bank_of(0).info.precision, false_alarm_rate=false_alarm_rate,
        provider=provider, engines=engines, bundle=bundle,
    )  # fmt: skip
    made = _made(shelf, old.recipe.product, old, wishes)
    print(f"{old.label} -> {made.label}")
    for line in differences(old, made):
        print(f"  {line}")
    print(f"put it on the line: {shelf.command(f'use {made.label}')}")


@product_app.command()
def export(
    name: ChosenArgument,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Where to write it; without it NAME-VERSION.product."),
    ] = None,
    products: FolderOption = Path("products"),
) -> None:
    """Write a version of a product as one file, for another station."""
    from edge_resad.recipe import Shelf, pack

    shelf = Shelf(products)
    chosen = shelf.find(name)
    path = output or Path(f"{chosen.product}-{chosen.version}.product")
    pack(shelf, chosen, path)
    print(f"{path}: {chosen}, {path.stat().st_size / 1e6:.1f} MB")


@product_app.command(name="import")
def import_product(
    file: Annotated[Path, typer.Argument(help="What edge-resad product export wrote.")],
    bundle: BundleOption = None,
    products: FolderOption = Path("products"),
) -> None:
    """Put a product of another station on the shelf, as a version of its own."""
    from edge_resad.bundle import open_bundle
    from edge_resad.recipe import Shelf, add_parcel, open_parcel

    shelf = Shelf(products)
    added, is_new = add_parcel(
        shelf, open_parcel(file, bundle_id=open_bundle(bundle).manifest.bundle_id, products=products)
    )
    print(f"{added.label}: {'imported' if is_new else 'was here already'}")
    if is_new:
        print(f"put it on the line: {shelf.command(f'use {added.label}')}")


_REMOVED = {
    "regions": "regions",
    "ignore": "ignore",
    "align": "alignment",
    "scale": "mm_per_px",
    "codes": "codes",
}
"""What can be taken away, and which key of the recipe that is."""


@dataclass(frozen=True, kw_only=True)
class _Wishes:
    """What was given on the command line."""

    good: list[str] | None
    bank: Path | None
    roi: list[str] | None
    alike: bool
    ignore: Path | None
    align: Path | None
    max_shift_px: float | None
    max_turn_deg: float | None
    min_likeness: float | None
    threshold: list[str] | None
    mm_per_px: float | None
    min_area_px: int | None
    min_area_mm2: float | None
    debounce: str | None
    severity: str | None
    code: list[str] | None
    note: str
    precision: Literal["fp32", "fp16", "int8"]
    false_alarm_rate: float
    provider: Literal["cpu", "cuda", "tensorrt"]
    engines: Path | None
    bundle: Path | None
    without: list[str] | None = None
    threshold_from: list[str] | None = None

    @property
    def sees_anew(self) -> bool:
        """Whether the network is to see other pictures than before."""
        return bool(self.roi or self.ignore or self.align or {"regions", "ignore", "align"} & {*(self.without or ())})


def _made(shelf: Shelf, name: str, old: Product | None, wishes: _Wishes) -> Product:
    """A new version as it is wished; what is not said is as in the old one."""
    from edge_resad.bank import bank_content, load_bank
    from edge_resad.image import file_content, read_image
    from edge_resad.recipe import checked_recipe

    if wishes.threshold_from and (wishes.good or wishes.bank or wishes.sees_anew):
        raise typer.BadParameter("--threshold-from estimates for the banks that are there: make new ones first")
    if wishes.good and wishes.bank:
        raise typer.BadParameter("give --good or --bank, not both")
    if not wishes.good and not wishes.bank and (old is None or wishes.sees_anew):
        raise ProductError(
            "regions, masks and alignment change what the network sees, so the banks must be made of good parts seen "
            "that way. Give pictures of good parts: --good FOLDER."
            if wishes.sees_anew
            else f"{name} needs good parts, or a bank of the whole picture. Give --good FOLDER or --bank FILE."
        )
    raw: dict[str, Any] = {"product": name}
    if old is not None:
        raw = old.recipe.model_dump(exclude_defaults=True)
    before = shelf.files(shelf.find(old.label)) if old is not None else {}
    files = dict(before)
    pictures = [read_image(file) for file in _good_files(wishes)]
    for what in wishes.without or ():
        if what not in _REMOVED:
            raise typer.BadParameter(f"--without {what} is not one of {', '.join(_REMOVED)}")
        raw.pop(_REMOVED[what], None)
    raw |= _settings(wishes, raw) | {"note": wishes.note}
    if wishes.roi:
        raw["regions"] = _regions(wishes.roi, wishes.alike)
    raw.setdefault("regions", [{"name": "whole", "bank": "whole.npz"}])
    if wishes.ignore is not None:
        raw["ignore"] = "ignore.png"
        files["ignore.png"] = _as_png(read_image(wishes.ignore))
    if wishes.align is not None:
        files["reference.png"] = _as_png(read_image(wishes.align))
    if pictures and (wishes.sees_anew or "picture_px" in raw):
        raw["picture_px"] = pictures[0].shape[1::-1]
    _set_thresholds(raw["regions"], ["bank"] if wishes.threshold_from else wishes.threshold)
    recipe = checked_recipe(raw, name)
    if wishes.bank is not None:
        if recipe.ignore or recipe.alignment or len(recipe.regions) > 1 or recipe.regions[0].box:
            raise ProductError(
                f"{wishes.bank} knows the whole picture, not the regions, masks or alignment of {name}. "
                "Give pictures of good parts instead: --good FOLDER."
            )
        load_bank(wishes.bank)
        files[recipe.regions[0].bank] = file_content(wishes.bank)
    elif pictures:
        enrolled = _enrolled(recipe, pictures, files, wishes)
        files |= {bank: bank_content(made) for bank, made in enrolled.items()}
    if old is not None and wishes.threshold_from:
        files |= _reestimated(replace(old, recipe=recipe), wishes)
    content = {file: files[file] for file in recipe.files}
    if old is not None and recipe == old.recipe.model_copy(update={"note": recipe.note}) and content == before:
        raise ProductError(
            f"nothing would be different from {old.label}. Say what to change; --precision, --false-alarm-rate and "
            "--alike need good parts to work on: --good FOLDER."
        )
    return shelf.add(recipe, content)


def _enrolled(
    recipe: Recipe, pictures: list[NDArray[np.uint8]], files: dict[str, bytes], wishes: _Wishes
) -> Mapping[str, Bank]:
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.product_enrolment import enrol_product
    from edge_resad.image import decode_image

    aligned = recipe.alignment
    mask = None if recipe.ignore is None else decode_image(files[recipe.ignore], "the ignore mask")
    reference = None if aligned is None else decode_image(files[aligned.reference], "the reference picture")
    for option, held in (("--ignore", mask), ("--align", reference)):
        if held is not None and recipe.picture_px is not None and held.shape[1::-1] != recipe.picture_px:
            raise ProductError(
                f"the picture of {option} is {held.shape[1]} x {held.shape[0]} px, the good parts are "
                f"{recipe.picture_px[0]} x {recipe.picture_px[1]} px. Give one as large as the camera's pictures."
            )
    done = enrol_product(
        open_bundle(wishes.bundle), recipe, pictures, ignore=None if mask is None else mask.max(axis=2) > 0,
        reference=reference, precision=wishes.precision, false_alarm_rate=wishes.false_alarm_rate,
        provider=wishes.provider, engines=wishes.engines,
    )  # fmt: skip
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return done.banks


def _reestimated(product: Product, wishes: _Wishes) -> dict[str, bytes]:
    """The product's banks with thresholds from more good parts."""
    from edge_resad.bank import REESTIMATE, bank_content
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.product_enrolment import thresholds_from
    from edge_resad.image import image_files, read_image
    from edge_resad.recipe import product_command

    pictures = [read_image(file) for file in image_files(wishes.threshold_from or ())]
    found = thresholds_from(
        open_bundle(wishes.bundle), product, pictures, false_alarm_rate=wishes.false_alarm_rate,
        provider=wishes.provider, engines=wishes.engines,
    )  # fmt: skip
    changed = {}
    for name, threshold in found.items():
        bank = product.banks[name]
        changed[name] = bank_content(replace(bank, info=bank.info.model_copy(update={"threshold": threshold})))
        again = product_command(f"change {product.recipe.product} --threshold-from GOOD_PARTS", product.shelf)
        print(f"{name}: threshold {threshold.score:.3f}. {threshold.promise.replace(REESTIMATE, again)}")
    return changed


def _good_files(wishes: _Wishes) -> list[Path]:
    from edge_resad.image import image_files

    return image_files(wishes.good) if wishes.good else []


def _settings(wishes: _Wishes, raw: dict[str, Any]) -> dict[str, Any]:
    """What the wishes say of a recipe's plain settings."""
    said: dict[str, Any] = {
        key: value
        for key, value in (
            ("mm_per_px", wishes.mm_per_px),
            ("min_area_px", wishes.min_area_px),
            ("min_area_mm2", wishes.min_area_mm2),
            ("codes", wishes.code),
        )
        if value is not None
    }
    if wishes.min_area_px is not None:
        said["min_area_mm2"] = None
    elif wishes.min_area_mm2 is not None:
        said["min_area_px"] = 0
    if wishes.debounce is not None:
        k, n = _whole_numbers(wishes.debounce, "/", 2, "--debounce 2/3")
        said |= {"debounce_k": k, "debounce_n": n}
    if wishes.severity is not None:
        major, critical = _numbers(wishes.severity, ",", 2, "--severity 1.25,1.75")
        said["severity"] = {"major": major, "critical": critical}
    limits = {
        key: value
        for key, value in (
            ("max_shift_px", wishes.max_shift_px),
            ("max_turn_deg", wishes.max_turn_deg),
            ("min_likeness", wishes.min_likeness),
        )
        if value is not None
    }
    if wishes.align is not None or "alignment" in raw:
        said["alignment"] = {**(raw.get("alignment") or {}), **limits}
    elif limits:
        raise ProductError("the limits of an alignment are set without one. Give a reference picture: --align FILE.")
    return said


def _regions(wishes: list[str], alike: bool) -> list[dict[str, Any]]:
    regions = []
    for number, text in enumerate(wishes, start=1):
        name, equals, corners = text.rpartition("=")
        name = name if equals else f"region{number}"
        values = _whole_numbers(corners, ",", None, "--roi 100,80,320,240")
        region: dict[str, Any] = {"name": name, "bank": "regions.npz" if alike else f"{name}.npz"}
        if len(values) == 4:
            region["box"] = values
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[::2], values[1::2]
            region["box"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
            region["polygon"] = list(zip(xs, ys, strict=True))
        else:
            raise typer.BadParameter(f"--roi {text} is neither X,Y,WIDTH,HEIGHT nor three or more corners")
        regions.append(region)
    return regions


def _set_thresholds(regions: Any, wishes: list[str] | None) -> None:
    for text in wishes or ():
        name, equals, score = text.rpartition("=")
        value = None if score == "bank" else _numbers(score, ",", 1, "--threshold 1.4")[0]
        known = [region["name"] for region in regions]
        if equals and name not in known:
            raise ProductError(f"no region {name} to set a threshold of. There are: {', '.join(known)}.")
        for region in regions:
            if not equals or region["name"] == name:
                region["threshold"] = value


def _numbers(text: str, between: str, count: int | None, example: str) -> list[float]:
    try:
        values = [float(piece) for piece in text.split(between)]
    except ValueError:
        values = []
    if not values or (count is not None and len(values) != count):
        raise typer.BadParameter(f"{text!r} cannot be read. Say it like {example}")
    return values


def _whole_numbers(text: str, between: str, count: int | None, example: str) -> list[int]:
    values = _numbers(text, between, count, example)
    if not all(value.is_integer() for value in values):
        raise typer.BadParameter(f"{text!r} is not of whole numbers. Say it like {example}")
    return [int(value) for value in values]


def _as_png(picture: NDArray[np.uint8]) -> bytes:
    import cv2

    _, content = cv2.imencode(".png", picture)
    return bytes(content.tobytes())


def _print_product(product: Product) -> None:
    from edge_resad.recipe import described, placed

    print(f"{product.label}  content {product.content_id[:12]}")
    for name, value in described(product.recipe)[1:]:
        print(f"  {name}: {value}")
    if product.ignore is not None:
        print(f"  ignored: {product.ignore.mean():.1%} of the picture")
    for index, roi in enumerate(product.recipe.regions):
        bank = product.bank_of(index).info
        whose = "the bank's" if roi.threshold is None else "by hand"
        print(f"  region {roi.name}: {placed(roi)}; threshold {product.threshold_of(index):.3f} ({whose})")
        print(f"    {roi.bank}: {len(bank.references)} references, {bank.head}, {bank.precision}")
