"""`edge-resad VERB`: a thin command per verb. Exit codes: 0 done, 1 the operator can fix it, 2 usage."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from edge_resad.errors import EdgeResadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_resad.decision import Verdict
    from edge_resad.engine.advice import Advice, Coverage, Pick

app = typer.Typer(
    name="edge-resad",
    help="Show a handful of good parts, find what is wrong with the next ones, tell the fleet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

BundleOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
    typer.Option("--bundle", help="Folder of a bundle; without it, the one that comes with the package."),
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Threads of the engine.")]
AugmentOption = Annotated[
    Literal["off", "on", "auto"],
    typer.Option("--augment", help="Whether references count turned to other angles too; auto asks them."),
]
HELD_FRAMES = 4  # pictures that a camera's driver may have kept from before it was asked
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


def main() -> None:
    """Run the command line; what an operator can fix is one line on stderr and exit code 1."""
    try:
        app()
    except EdgeResadError as error:
        print(f"edge-resad: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of our output has gone: that is no error of ours
        sys.stderr.close()
        raise SystemExit(0) from None


@app.command()
def enrol(
    paths: Annotated[
        list[str], typer.Argument(help="Images of good parts: a folder, files, or a camera (/dev/video0).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the bank.")],
    product: Annotated[str, typer.Option(help="Name of the product; the bank's file name without it.")] = "",
    shots: Annotated[int, typer.Option(min=1, max=64, help="Parts to take where PATHS is a camera.")] = 4,
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that may fail.")
    ] = 0.01,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
    augment: AugmentOption = "auto",
    pick: Annotated[Optional[int], typer.Option(min=1, help="Enrol only so many, those that cover the rest.")] = None,  # noqa: UP045
) -> None:
    """Make a reference bank from a handful of good parts."""
    from edge_resad.bank import save_bank
    from edge_resad.bundle import file_digest, open_bundle
    from edge_resad.engine.advice import advise as pick_references
    from edge_resad.engine.advice import coverage
    from edge_resad.engine.enrolment import enrol as enrol_images
    from edge_resad.image import decode_image, file_content, image_files

    opened = open_bundle(bundle)
    digests: list[str] = []  # none where there are no files
    if _is_camera(paths):
        images = _shots(paths[0], shots)
    else:
        images = []
        for file in image_files(paths):
            content = file_content(file)
            images.append(decode_image(content, file))
            digests.append(file_digest(content))
    with _progress("enrol", show=sys.stderr.isatty()) as step:
        if pick is not None:
            shown, picked = images, pick_references(opened, images, pick, threads=threads, progress=step).parts
            images, digests = [shown[part] for part in picked], [digests[part] for part in picked if digests]
        made = enrol_images(
            opened, images, product=product or output.name.partition(".")[0], digests=digests, threads=threads,
            false_alarm_rate=false_alarm_rate, augment=augment, progress=step,
        )  # fmt: skip
    warnings = list(made.warnings)
    if pick is not None and len(shown) > len(picked):
        others = [part for part in range(len(shown)) if part not in picked]
        warnings += coverage(opened, made.bank, shown, others, threads=threads).warnings
    save_bank(made.bank, output)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    rows = ", ".join(str(len(level)) for level in made.bank.levels)
    print(f"{output}: {len(images)} good parts, {rows} reference patches")
    augmentation = made.bank.info.augmentation
    print(f"augmentation: {augmentation.mode}. {augmentation.reason[0].upper()}{augmentation.reason[1:]}.")
    _print_threshold(made.bank.info.threshold.score, made.bank.info.threshold.promise)


@app.command()
def advise(
    paths: Annotated[list[str], typer.Argument(help="Images of good parts: a folder or files.")],
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="References to pick.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    augment: AugmentOption = "auto",
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that may fail.")
    ] = 0.05,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Say which of many good parts make the best references, and whether they cover the others. Makes no bank."""
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.advice import advise as pick_references
    from edge_resad.engine.advice import coverage
    from edge_resad.engine.enrolment import enrol as enrol_images
    from edge_resad.image import image_files, read_image

    opened = open_bundle(bundle)
    files = image_files(paths)
    images = [read_image(file) for file in files]
    with _progress("advise", show=sys.stderr.isatty()) as step:
        advice = pick_references(opened, images, count, threads=threads, progress=step)
        made = enrol_images(
            opened, [images[part] for part in advice.parts], product="advice", threads=threads, augment=augment,
            false_alarm_rate=false_alarm_rate, progress=step,
        )  # fmt: skip
        others = [part for part in range(len(images)) if part not in advice.parts]
        found = coverage(opened, made.bank, images, others, threads=threads, progress=step) if others else None
    if as_json:
        print(json.dumps(_advice_json(files, advice, found)))
        return
    for number, pick in enumerate(advice.picks):
        print(f"{number + 1:2}. {files[pick.part]}  {_covers(files, pick)}")
    if advice.further is not None:
        print(f"next {files[advice.further.part]}  {_covers(files, advice.further)}")
    if found is not None:
        print(f"{found.judged} other good parts: {len(found.failed)} would fail at the threshold of these references")
        for part in found.failed:
            print(f"  would fail: {files[part]}")
    for warning in found.warnings if found is not None else ():
        print(f"warning: {warning}", file=sys.stderr)


@app.command()
def threshold(
    bank: Annotated[Path, typer.Argument(help="The bank to change.")],
    paths: Annotated[Optional[list[str]], typer.Argument(help="Images of more good parts.")] = None,  # noqa: UP045
    set_to: Annotated[Optional[float], typer.Option("--set", min=0.0, help="Set the threshold by hand.")] = None,  # noqa: UP045
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that may fail.")
    ] = 0.01,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Show a bank's threshold, set it by hand, or estimate it from more good parts. Nothing is exported again."""
    from edge_resad.bank import Bank, Threshold, load_bank, save_bank
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.enrolment import threshold_from
    from edge_resad.engine.inspector import Inspector
    from edge_resad.image import image_files, read_image

    if paths and set_to is not None:
        raise typer.BadParameter("give good parts or --set, not both")
    loaded = load_bank(bank)
    found = loaded.info.threshold
    if set_to is not None:
        found = Threshold(
            score=set_to, region=found.region, how="by hand", samples=0, false_alarm_rate=None,
            promise="Set by hand: nothing is promised about false alarms.",
        )  # fmt: skip
    elif paths:
        files = image_files(paths)
        scores, peaks = [], []
        with (
            Inspector(open_bundle(bundle), loaded, threads=threads) as inspector,
            _progress("judge", show=sys.stderr.isatty()) as step,
        ):
            for index, file in enumerate(files):
                scores.append(inspector.inspect(read_image(file)).score)
                peaks.append(float(inspector.score_map.max()))
                step("judge", index + 1, len(files))
        found = threshold_from(scores, region=max(peaks), rate=false_alarm_rate, how="good parts")
    if found != loaded.info.threshold:
        info = loaded.info.model_copy(update={"threshold": found})
        save_bank(Bank(info=info, levels=loaded.levels), bank)
    _print_threshold(found.score, found.promise)


@app.command()
def inspect(
    paths: Annotated[list[str], typer.Argument(help="Images, folders or videos to inspect.")],
    bank: Annotated[Path, typer.Option("--bank", "-b", help="The product's bank, made by enrol.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    out: Annotated[Optional[Path], typer.Option("--out", help="Folder for heatmap pictures.")] = None,  # noqa: UP045
    threshold: Annotated[Optional[float], typer.Option(min=0.0, help="Instead of the bank's own.")] = None,  # noqa: UP045
    min_area_px: Annotated[int, typer.Option(min=0, help="Smallest defect that counts, pixels.")] = 0,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Inspect parts: one line a part, and with --out a picture with the defects outlined."""
    from edge_resad.bank import load_bank
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.inspector import Inspector
    from edge_resad.overlay import heat_overlay

    parts = failed = unreadable = 0
    written: set[Path] = set()
    with Inspector(
        open_bundle(bundle), load_bank(bank), threads=threads, threshold=threshold, min_area_px=min_area_px
    ) as inspector:
        for name, image in _parts(paths):
            if isinstance(image, EdgeResadError):
                unreadable += 1
                print(f"edge-resad: {image}", file=sys.stderr)
                continue
            verdict = inspector.inspect(image)
            parts += 1
            failed += verdict.status == "fail"
            print(_json_line(name, verdict) if as_json else _text_line(name, verdict), flush=True)
            if out is not None:
                outlines = [region.polygon for region in verdict.regions]
                picture = heat_overlay(
                    image, inspector.score_map, threshold=inspector.region_threshold, polygons=outlines
                )
                _write_picture(out, name, picture, written)
    if not as_json:
        print(f"{parts} parts, {failed} failed" + (f", {unreadable} could not be read" if unreadable else ""))
    if unreadable:
        raise typer.Exit(1)


@app.command()
def run(
    station: Annotated[Path, typer.Argument(help="The station file.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Run a station: camera, inspection, alerts. SIGTERM or Ctrl-C ends it with nothing lost."""
    from edge_resad.demo import products
    from edge_resad.device.station import run as run_station

    run_station(station, quiet=quiet, products=products)


@app.command()
def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Folders with classes in MVTec AD's layout, at any depth.")],
    shots: Annotated[int, typer.Option(min=1, help="References a class.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of references; figures are their mean.")] = 3,
    max_good: Annotated[Optional[int], typer.Option(min=1, help="At most so many good test images a class.")] = None,  # noqa: UP045
    max_defect: Annotated[Optional[int], typer.Option(min=1, help="At most so many defective ones a class.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    report: Annotated[Optional[Path], typer.Option(help="Also write a page, PAGE.html, with pictures.")] = None,  # noqa: UP045
    augment: AugmentOption = "auto",
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Measure a bundle on labelled folders: image and pixel AUROC, AUPRO, AUPIMO, few-shot."""
    from datetime import date

    from rich.console import Console

    from edge_resad.bundle import open_bundle
    from edge_resad.datasets.find import find_classes
    from edge_resad.evaluation.page import write_report
    from edge_resad.evaluation.protocol import evaluate as evaluate_classes
    from edge_resad.evaluation.report import as_json as results_json
    from edge_resad.evaluation.report import as_table
    from edge_resad.evaluation.scorer import BundleScorer

    opened = open_bundle(bundle)
    classes = find_classes(data)
    with (
        BundleScorer(opened, threads=threads, augment=augment) as scorer,
        _progress("evaluate", show=sys.stderr.isatty()) as step,
    ):
        results = evaluate_classes(
            classes, scorer, shots=shots, seeds=range(seeds), max_good=max_good, max_defect=max_defect, progress=step
        )
    if report is not None:
        about = f"Bundle {opened.manifest.bundle_id}, fp32, {date.today():%d %B %Y}."
        write_report(results, report, about=about)
    if as_json:
        print(json.dumps(results_json(results, opened.manifest.bundle_id, "fp32")))
    else:
        Console().print(as_table(results))


@app.command()
def demo(
    broker: Annotated[Optional[str], typer.Option(help="HOST[:PORT] of a broker; without it, one is embedded.")] = None,  # noqa: UP045
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("demo-out"),
    parts: Annotated[int, typer.Option(min=1, help="Parts to inspect.")] = 60,
    family: Annotated[str, typer.Option(help="Product to make: see docs/pictures/demo-products.jpg.")] = "flange",
) -> None:
    """Show the whole product on this machine: parts, camera, inspection, alerts over MQTT, a report."""
    from edge_resad.demo.show import run_demo

    run_demo(broker=broker, out=out, parts=parts, family=family)


def _is_camera(paths: Sequence[str]) -> bool:
    return len(paths) == 1 and (paths[0].startswith("/dev/video") or paths[0].partition(":")[0] == "synthetic")


def _shots(source: str, count: int) -> list[NDArray[np.uint8]]:
    """Frames of good parts from a camera, one each time Enter is pressed, or one after the other without a terminal."""
    from edge_resad.demo import products
    from edge_resad.device.camera import open_camera
    from edge_resad.device.settings import CameraSection
    from edge_resad.errors import CameraError

    images: list[NDArray[np.uint8]] = []
    with open_camera(CameraSection(source=source), products=products) as camera:
        while len(images) < count:
            if sys.stdin.isatty():
                input(f"good part {len(images) + 1} of {count} in view? Press Enter ")
                for _ in range(HELD_FRAMES if camera.live else 0):
                    camera.read()  # it may still show the part before
            frame = camera.read()
            if frame is None:
                raise CameraError(f"{source} gave {len(images)} frames, {count} were asked for. Check the camera.")
            if frame.truth is None or frame.truth.defect is None:
                images.append(frame.image.copy())
    return images


def _parts(paths: Sequence[str]) -> Iterator[tuple[str, NDArray[np.uint8] | EdgeResadError]]:
    """Every image of the paths; videos frame by frame. A file that cannot be read is said, and the rest goes on."""
    from edge_resad.errors import ImageError
    from edge_resad.image import image_files, read_image

    videos = [path for path in paths if path.lower().endswith(VIDEO_SUFFIXES)]
    pictures = [path for path in paths if path not in videos]
    for file in image_files(pictures) if pictures else []:
        try:
            yield str(file), read_image(file)
        except ImageError as error:
            yield str(file), error
    for video in videos:
        yield from _video_frames(video)


def _video_frames(path: str) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    from edge_resad.device.camera import open_camera
    from edge_resad.device.settings import CameraSection

    with open_camera(CameraSection(source=f"video:{path}")) as camera:
        while (frame := camera.read()) is not None:
            yield f"{path}#{frame.frame_id}", frame.image


def _json_line(name: str, verdict: Verdict) -> str:
    regions = [
        {"box": region.box, "area_px": region.area_px, "peak": round(region.peak, 4), "polygon": region.polygon}
        for region in verdict.regions
    ]
    return json.dumps(
        {
            "image": name, "score": verdict.score, "threshold": verdict.threshold, "verdict": verdict.status,
            "severity": verdict.severity, "regions": regions,
        }
    )  # fmt: skip


def _text_line(name: str, verdict: Verdict) -> str:
    line = f"{verdict.status.upper():4}  {verdict.score:6.3f} / {verdict.threshold:.3f}  {name}"
    if verdict.regions:
        x, y, width, height = verdict.regions[0].box
        line += f"  {verdict.severity}, {len(verdict.regions)} region(s), worst {width} x {height} px at ({x}, {y})"
    return line


def _covers(files: Sequence[Path], pick: Pick) -> str:
    if pick.worst_part is None:
        return "no other parts are left"
    return f"others {pick.mean:.2f} times as far as from all parts, worst {pick.worst:.2f} ({files[pick.worst_part]})"


def _advice_json(files: Sequence[Path], advice: Advice, found: Coverage | None) -> dict[str, object]:
    def told(pick: Pick) -> dict[str, object]:
        worst_part = None if pick.worst_part is None else str(files[pick.worst_part])
        return {"image": str(files[pick.part]), "mean": pick.mean, "worst": pick.worst, "worst_image": worst_part}

    others = None
    if found is not None:
        others = {
            "judged": found.judged, "failed": [str(files[part]) for part in found.failed],
            "mean": found.mean, "worst": found.worst,
        }  # fmt: skip
    return {
        "picks": [told(pick) for pick in advice.picks],
        "next": None if advice.further is None else told(advice.further),
        "compared": len(advice.compared),
        "others": others,
        "warnings": list(found.warnings) if found is not None else [],
    }


def _print_threshold(score: float, promise: str) -> None:
    print(f"threshold {score:.3f}. {promise}")


def _write_picture(folder: Path, name: str, picture: NDArray[np.uint8], written: set[Path]) -> None:
    from edge_resad.errors import ImageError
    from edge_resad.overlay import encoded

    file = folder / (Path(name).name.replace("#", "-") + ".jpg")
    scratch = file.with_name(f".{file.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 2
        while file in written:  # two folders may hold pictures of one name
            file = folder / f"{Path(name).name.replace('#', '-')}-{number}.jpg"
            number += 1
        scratch.write_bytes(encoded(picture))
        scratch.replace(file)
        written.add(file)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ImageError(f"cannot write the picture {file}: {error.strerror}. Check space and rights.") from error


class _progress:
    """A progress bar on stderr, as a callable; nothing where nobody looks."""

    def __init__(self, title: str, *, show: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True, disable=not show)
        self._task = self._bar.add_task(title)

    def __enter__(self) -> _progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=stage, completed=done, total=total)


if __name__ == "__main__":
    main()
