"""`edge-resad VERB`: a thin command per verb. Exit codes: 0 done, 1 the operator can fix it, 2 usage."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from edge_resad.errors import EdgeResadError
from edge_resad.fleet_verbs import fleet_app, send
from edge_resad.options import BundleOption, EnginesOption, FalseAlarmRateOption, ProviderOption
from edge_resad.output_verbs import output_app
from edge_resad.picture_verbs import capture, pictures_app
from edge_resad.product_verbs import product_app
from edge_resad.spool_verbs import spool_app
from edge_resad.station_verbs import control, live, trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_resad.decision import Verdict
    from edge_resad.engine.advice import Advice, Coverage, Pick
    from edge_resad.engine.build import Built
    from edge_resad.evaluation.protocol import Results, Scorer

app = typer.Typer(
    name="edge-resad",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(product_app, name="product")
app.add_typer(fleet_app, name="fleet")
app.add_typer(spool_app, name="spool")
app.add_typer(output_app, name="output")
app.add_typer(pictures_app, name="pictures")
app.command()(capture)
app.command()(control)
app.command()(live)
app.command()(send)
app.command()(trigger)

ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Threads of the engine.")]
AugmentOption = Annotated[
    Literal["off", "on", "auto"],
    typer.Option("--augment", help="Whether references count turned to other angles too; auto asks them."),
]
HeadChoice = Literal["nn", "resad", "fused"]
HEAD_HELP = "nn: nearest reference, resad: the learned head, fused: both; without it the bundle's own choice."
HeadOption = Annotated[Optional[HeadChoice], typer.Option("--head", help=HEAD_HELP)]  # noqa: UP045
PrecisionChoice = Literal["fp32", "fp16", "int8"]
PrecisionOption = Annotated[
    PrecisionChoice, typer.Option("--precision", help="What the network computes in; int8 is the fastest on a CPU.")
]
OwnPrecisionOption = Annotated[
    Optional[PrecisionChoice],  # noqa: UP045
    typer.Option("--precision", help="What the network computes in; without it, what the bank was made in."),
]
HELD_FRAMES = 4  # pictures that a camera's driver may have kept from before it was asked
OUTPUT_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what a write to stdout may end with


def main() -> None:
    """Run the command line; what an operator can fix is one line on stderr and exit code 1."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what the output does not take is said here, not at the interpreter's end
    except EdgeResadError as error:
        print(f"edge-resad: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of our output has gone: that is no error of ours
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_REFUSES:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain of it at its end
        print(f"edge-resad: the output cannot be written: {error.strerror}. Send it elsewhere.", file=sys.stderr)
        raise SystemExit(1) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        from edge_resad import __version__

        print(f"edge-resad {__version__}")
        raise typer.Exit


@app.callback()
def _edge_resad(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Show a handful of good parts, find what is wrong with the next ones, tell the fleet."""


def _above_zero(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is no threshold: give a number above 0")
    return value


def _width_and_height(value: str) -> str:
    found = re.fullmatch(r"([0-9]{2,5})x([0-9]{2,5})", value)
    if found is None or not all(32 <= int(pixels) <= 8192 for pixels in found.groups()):
        raise typer.BadParameter(f"{value} is no size: give WIDTHxHEIGHT such as 1280x720, each 32 to 8192 pixels")
    return value


@app.command()
def enrol(
    paths: Annotated[
        list[str], typer.Argument(help="Images of good parts: a folder, files, or a camera (/dev/video0).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the bank.")],
    product: Annotated[str, typer.Option(help="Name of the product; the bank's file name without it.")] = "",
    shots: Annotated[int, typer.Option(min=1, max=64, help="Parts to take where PATHS is a camera.")] = 4,
    false_alarm_rate: FalseAlarmRateOption = 0.05,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
    augment: AugmentOption = "auto",
    head: HeadOption = None,
    precision: PrecisionOption = "fp32",
    pick: Annotated[Optional[int], typer.Option(min=1, help="Enrol only so many, those that cover the rest.")] = None,  # noqa: UP045
) -> None:
    """Make a reference bank from a handful of good parts."""
    _check_engines(provider, engines)
    from edge_resad.bank import save_bank
    from edge_resad.bundle import file_digest, open_bundle
    from edge_resad.device.settings import is_camera
    from edge_resad.engine.advice import advise as pick_references
    from edge_resad.engine.advice import coverage
    from edge_resad.engine.enrolment import enrol as enrol_images
    from edge_resad.errors import BankError
    from edge_resad.image import decode_image, file_content, image_files

    named = _product(product, output)
    if os.path.isdir(output):
        raise BankError(f"{output} is a folder, expected a file for the bank such as {output / 'flange.npz'}.")
    opened = open_bundle(bundle)
    digests: list[str] = []  # none where there are no files
    if len(paths) == 1 and is_camera(paths[0]):
        images = _shots(paths[0], shots)
    else:
        images = []
        for file in image_files(paths):
            content = file_content(file)
            images.append(decode_image(content, file))
            digests.append(file_digest(content))
    with _progress("enrol", show=sys.stderr.isatty()) as step:
        if pick is not None:
            shown, picked = (
                images,
                pick_references(
                    opened,
                    images,
                    pick,
                    precision=precision,
                    threads=threads,
                    provider=provider,
                    engines=engines,
                    progress=step,
                ).parts,
            )
            images, digests = [shown[part] for part in picked], [digests[part] for part in picked if digests]
        made = enrol_images(
            opened, images, product=named, digests=digests, precision=precision, threads=threads,
            provider=provider, engines=engines, false_alarm_rate=false_alarm_rate, augment=augment, head=head,
            progress=step,
        )  # fmt: skip
    warnings = list(made.warnings)
    if pick is not None and len(shown) > len(picked):
        others = [part for part in range(len(shown)) if part not in picked]
        warnings += coverage(
            opened, made.bank, shown, others, threads=threads, provider=provider, engines=engines
        ).warnings
    save_bank(made.bank, output)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    rows = [len(level) for level in made.bank.levels]
    parts = " + ".join(str(count) for count in rows)
    print(f"{output}: {_counted(len(images), 'good part')}, {sum(rows)} reference patches ({parts})")
    if len(opened.manifest.heads) > 1:
        print(f"head: {made.bank.info.head}")
    augmentation = made.bank.info.augmentation
    print(f"augmentation: {augmentation.mode}. {augmentation.reason[0].upper()}{augmentation.reason[1:]}.")
    _print_threshold(made.bank.info.threshold.score, made.bank.info.threshold.promise)


@app.command()
def advise(
    paths: Annotated[list[str], typer.Argument(help="Images of good parts: a folder or files.")],
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="References to pick.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    augment: AugmentOption = "auto",
    head: HeadOption = None,
    precision: PrecisionOption = "fp32",
    false_alarm_rate: FalseAlarmRateOption = 0.05,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Say which of many good parts make the best references, and whether they cover the others. Makes no bank."""
    _check_engines(provider, engines)
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.advice import advise as pick_references
    from edge_resad.engine.advice import coverage
    from edge_resad.engine.enrolment import enrol as enrol_images
    from edge_resad.image import image_files, read_image

    opened = open_bundle(bundle)
    files = image_files(paths)
    images = [read_image(file) for file in files]
    with _progress("advise", show=sys.stderr.isatty()) as step:
        advice = pick_references(
            opened,
            images,
            count,
            precision=precision,
            threads=threads,
            provider=provider,
            engines=engines,
            progress=step,
        )
        made = enrol_images(
            opened, [images[part] for part in advice.parts], product="advice", precision=precision, threads=threads,
            provider=provider, engines=engines, augment=augment, head=head, false_alarm_rate=false_alarm_rate,
            progress=step,
        )  # fmt: skip
        others = [part for part in range(len(images)) if part not in advice.parts]
        found = (
            coverage(
                opened, made.bank, images, others, threads=threads, provider=provider, engines=engines, progress=step
            )
            if others
            else None
        )
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
    context: typer.Context,
    bank: Annotated[Path, typer.Argument(help="The bank to change.")],
    paths: Annotated[Optional[list[str]], typer.Argument(help="Images of more good parts.")] = None,  # noqa: UP045
    set_to: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--set", callback=_above_zero, help="Set the threshold by hand."),
    ] = None,
    false_alarm_rate: FalseAlarmRateOption = 0.05,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Show a bank's threshold, set it by hand, or estimate it from more good parts. Nothing is exported again."""
    _check_engines(provider, engines)
    from edge_resad.bank import Threshold, load_bank, save_bank
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.enrolment import threshold_from
    from edge_resad.engine.inspector import Inspector
    from edge_resad.errors import BankError
    from edge_resad.image import image_files

    if paths and set_to is not None:
        raise typer.BadParameter("give good parts or --set, not both")
    rate_given = context.get_parameter_source("false_alarm_rate")
    if not paths and rate_given is not None and rate_given.name == "COMMANDLINE":
        raise typer.BadParameter("--false-alarm-rate needs good parts to estimate from: name them after the bank")
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
            Inspector(open_bundle(bundle), loaded, threads=threads, provider=provider, engines=engines) as inspector,
            _progress("judge", show=sys.stderr.isatty()) as step,
        ):
            for index, file in enumerate(files):
                image = _unless_reference(file, loaded.info.references)
                if image is not None:
                    scores.append(inspector.inspect(image).score)
                    peaks.append(float(inspector.score_map.max()))
                step("judge", index + 1, len(files))
        left_out = len(files) - len(scores)
        if not scores:
            raise BankError(
                f"every picture given is a reference of the bank {bank}, which knows them by heart: they would make a "
                "threshold that is far too low. Give good parts that it has not seen."
            )
        if left_out:
            print(f"warning: {_counted(left_out, 'picture')} left out: references of this bank", file=sys.stderr)
        found = threshold_from(
            scores, region=max(peaks), rate=false_alarm_rate, how="good parts", head=loaded.info.head
        )
    if found != loaded.info.threshold:
        info = loaded.info.model_copy(update={"threshold": found})
        save_bank(replace(loaded, info=info), bank)
    _print_threshold(found.score, found.promise)


@app.command()
def inspect(
    paths: Annotated[list[str], typer.Argument(help="Images, folders or videos to inspect.")],
    bank: Annotated[Optional[Path], typer.Option("--bank", "-b", help="The product's bank, made by enrol.")] = None,  # noqa: UP045
    product: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--product", metavar="NAME[@VERSION]", help="Instead of --bank, a product with a recipe."),
    ] = None,
    products: Annotated[Path, typer.Option("--products", help="The folder of products.")] = Path("products"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    out: Annotated[Optional[Path], typer.Option("--out", help="Folder for heatmap pictures.")] = None,  # noqa: UP045
    threshold: Annotated[Optional[float], typer.Option(callback=_above_zero, help="Instead of the bank's own.")] = None,  # noqa: UP045
    min_area_px: Annotated[int, typer.Option(min=0, help="Smallest defect that counts, pixels.")] = 0,
    precision: OwnPrecisionOption = None,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Inspect parts: one line a part, and with --out a picture with the defects outlined."""
    _check_engines(provider, engines)
    from edge_resad.bank import load_bank
    from edge_resad.bundle import open_bundle
    from edge_resad.decision import NotInspected
    from edge_resad.engine.inspector import Inspector
    from edge_resad.engine.product_inspector import ProductInspector
    from edge_resad.overlay import heat_overlay, with_verdict
    from edge_resad.recipe import Shelf

    if (bank is None) == (product is None):
        raise typer.BadParameter("give --bank, or --product, one of them")
    if product is not None and (threshold is not None or min_area_px):
        raise typer.BadParameter("--threshold and --min-area-px come from the recipe: edge-resad product change")
    _check_inspectable(paths, out)
    parts = failed = unreadable = not_inspected = 0
    written: set[Path] = set()
    opened = open_bundle(bundle)
    judge: Inspector | ProductInspector
    if bank is not None:
        judge = Inspector(
            opened,
            load_bank(bank),
            threads=threads,
            provider=provider,
            engines=engines,
            precision=precision,
            threshold=threshold,
            min_area_px=min_area_px,
        )
    else:
        shelf = Shelf(products)
        judge = ProductInspector(
            opened,
            shelf.open(shelf.find(product or "")),
            threads=threads,
            provider=provider,
            engines=engines,
            precision=precision,
        )
    with judge as inspector:
        for name, image in _parts(paths):
            if isinstance(image, EdgeResadError):
                unreadable += 1
                print(f"edge-resad: {image}", file=sys.stderr)
                continue
            parts += 1
            try:
                verdict = inspector.inspect(image)
            except NotInspected as obstacle:
                not_inspected += 1
                told = {"image": name, "verdict": "not inspected", "reason": obstacle.obstacle}
                print(json.dumps(told) if as_json else f"----  not inspected: {obstacle}  {name}", flush=True)
                continue
            failed += verdict.status == "fail"
            print(_json_line(name, verdict) if as_json else _text_line(name, verdict), flush=True)
            if out is not None:
                outlines = [region.polygon for region in verdict.regions]
                picture = heat_overlay(
                    image, inspector.score_map, threshold=inspector.region_threshold, polygons=outlines,
                    passed=verdict.status == "pass",
                )  # fmt: skip
                _write_picture(out, name, with_verdict(picture, verdict), written)
    if not as_json:
        unread = f", {unreadable} could not be read" if unreadable else ""
        without = f", {not_inspected} not inspected" if not_inspected else ""
        print(f"{_counted(parts, 'part')}, {failed} failed{without}{unread}")
    if unreadable or not_inspected:
        raise typer.Exit(1)


@app.command()
def run(
    station: Annotated[Path, typer.Argument(help="The station file.")],
    precision: OwnPrecisionOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Run a station: camera, inspection, alerts. SIGTERM or Ctrl-C ends it with nothing lost."""
    from edge_resad.signals import stopped_by_signals

    with stopped_by_signals() as stop:  # before the imports that take their time
        from edge_resad.demo import products
        from edge_resad.device.station import run as run_station

        run_station(station, precision=precision, quiet=quiet, stop=stop, products=products)


@app.command("home-assistant")
def home_assistant(
    station: Annotated[Path, typer.Argument(help="The station file.")],
    prefix: Annotated[str, typer.Option(help="Where Home Assistant listens for devices.")] = "homeassistant",
    remove: Annotated[bool, typer.Option("--remove", help="Take the announcement away again.")] = False,
) -> None:
    """Announce a station to Home Assistant at its broker, so that it is shown there as a device."""
    from edge_resad import __version__
    from edge_resad.device.home_assistant import announce
    from edge_resad.device.settings import load_station

    topic = announce(load_station(station), version=__version__, prefix=prefix, remove=remove)
    print(f"{'took away' if remove else 'announced on'} {topic}")


@app.command()
def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Folders with classes in MVTec AD's layout, at any depth.")],
    shots: Annotated[int, typer.Option(min=1, help="References a class.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of references; figures are their mean.")] = 3,
    max_good: Annotated[Optional[int], typer.Option(min=1, help="At most so many good test images a class.")] = None,  # noqa: UP045
    max_defect: Annotated[Optional[int], typer.Option(min=1, help="At most so many defective ones a class.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    report: Annotated[Optional[Path], typer.Option(help="Also write a page, PAGE.html, with pictures.")] = None,  # noqa: UP045
    head: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer takes no list of a Literal
        typer.Option(help=f"{HEAD_HELP} Several times: beside each other, on the same references."),
    ] = None,
    checkpoint: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="Head of ResAD's that edge-resad train wrote, judged beside the bundle; needs torch."),
    ] = None,
    backbone_weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File of WideResNet50's weights, for checkpoints of the paper's profiles."),
    ] = None,
    augment: AugmentOption = "auto",
    precision: PrecisionOption = "fp32",
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Measure a bundle on labelled folders: image and pixel AUROC, AUPRO, AUPIMO, few-shot."""
    from datetime import date

    from rich.console import Console

    from edge_resad.bundle import open_bundle
    from edge_resad.datasets.find import find_classes
    from edge_resad.engine.fusion import head_named
    from edge_resad.errors import ImageError
    from edge_resad.evaluation.page import write_report
    from edge_resad.evaluation.protocol import evaluate as evaluate_classes
    from edge_resad.evaluation.report import as_json as results_json
    from edge_resad.evaluation.report import as_table
    from edge_resad.evaluation.scorer import BundleScorer

    opened = open_bundle(bundle)
    classes = find_classes(data)
    if not any(one.test for one in classes):
        raise ImageError(
            f"{classes[0].name} has no test images, so nothing can be measured. Expected test/good and test/DEFECT "
            "beside train/good, as in MVTec AD."
        )
    results: dict[str, Results] = {}
    with ExitStack() as closing:
        step = closing.enter_context(_progress("evaluate", show=sys.stderr.isatty()))
        scorers: dict[str, Scorer] = {
            name: closing.enter_context(
                BundleScorer(opened, head=name, precision=precision, threads=threads, augment=augment)
            )
            for name in [head_named(opened.manifest, one) for one in head or (None,)]
        }
        for path in checkpoint or ():
            scorers[str(path)] = _checkpoint_scorer(path, threads, backbone_weights)
        for name, scorer in scorers.items():
            results[name] = evaluate_classes(
                classes, scorer, shots=shots, seeds=range(seeds), max_good=max_good, max_defect=max_defect,
                progress=partial(_of, name, step),
            )  # fmt: skip
    shown = results if len(results) > 1 else next(iter(results.values()))
    if as_json:
        print(json.dumps(results_json(shown, opened.manifest.bundle_id, precision)))
    else:
        Console().print(as_table(shown))
    if report is not None:
        about = f"Bundle {opened.manifest.bundle_id}, {', '.join(results)}, {precision}, {date.today():%d %B %Y}."
        write_report(shown, report, about=about)


@app.command()
def train(
    data: Annotated[list[Path], typer.Argument(help="Folders with labelled classes to learn from, at any depth.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for best.pt, last.pt and log.csv; goes on from there.")],
    profile: Annotated[str, typer.Option(help="What to train: edge, edge-resad, or paper and its variants.")] = "edge",
    epochs: Annotated[Optional[int], typer.Option(min=1, help="The profile's own without it.")] = None,  # noqa: UP045
    batch: Annotated[Optional[int], typer.Option(min=1, help="Images a step; the profile's own without it.")] = None,  # noqa: UP045
    lr: Annotated[Optional[float], typer.Option(min=1e-9, help="Learning rate; the profile's own without it.")] = None,  # noqa: UP045
    shots: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(min=1, help="References a class; several times: drawn anew each time. Without it the profile's."),
    ] = None,
    hold_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Pattern of classes that choose the model and are not learned from."),
    ] = None,
    hold_out_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Without --hold-out: share of classes, drawn with --seed.")
    ] = 0.2,
    leave_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Pattern of classes to keep away from, because you will report figures of them."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 42,
    cache: Annotated[Path, typer.Option(help="Folder for the backbone's features, for all trainings.")] = Path(
        "~/.cache/edge-resad"
    ),
    cache_gb: Annotated[float, typer.Option(min=0.001, help="How much the cache may hold, GB.")] = 20.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU where there is one.")] = "auto",
    backbone_weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File of WideResNet50's weights, for the paper's profiles."),
    ] = None,
) -> None:
    """Train a learned head on labelled classes, for classes that it has never seen.

    Where it was interrupted it goes on. Several GPUs or machines: torchrun --nproc-per-node N -m edge_resad train ...
    """
    from edge_resad.datasets.find import find_classes

    with _needing_torch("training"):
        from edge_resad.train.log import has_tensorboard
        from edge_resad.train.loop import EpochSaid, losses_of
        from edge_resad.train.loop import train as train_head
        from edge_resad.train.request import cache_for, draws_for, profile_named
        from edge_resad.train.split import split_classes
        from edge_resad.train.team import team_of_this_run

    def say(done: EpochSaid) -> None:
        best = ", the best so far" if done.is_best and done.held_out else ""
        judged = _aurocs(*done.held_out) if done.held_out else ""
        stage = f", stage {done.stage}" if asked.head else ""
        print(f"epoch {done.epoch}{stage}: {losses_of(done.figures)}{judged}{best}", flush=True)

    asked = profile_named(profile, epochs=epochs, batch=batch, lr=lr)
    split = split_classes(
        find_classes(data), hold_out=hold_out or (), share=hold_out_share, leave_out=leave_out or (), seed=seed
    )
    with team_of_this_run(device) as team:
        speaks = team.rank == 0
        if speaks:
            print(f"classes learned from: {len(split.seen)}; held out: {', '.join(split.held_out_names) or 'none'}")
        if speaks and not has_tensorboard():
            print("TensorBoard is not installed: losses are in log.csv alone", file=sys.stderr)
        features = cache_for(asked, cache.expanduser(), cache_gb, team.device, backbone_weights)
        with _progress("train", show=speaks and sys.stderr.isatty()) as step:
            best = train_head(
                asked, split, out, features, draws_for(asked, seed, shots), team=team, progress=step, epoch_done=say
            )
    if speaks:
        judged = "" if best.image_auroc is None else _aurocs(best.image_auroc, best.pixel_auroc)
        print(f"{out / 'best.pt'}: epoch {best.epoch}{judged}")


@app.command()
def build(
    bundle: BundleOption = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "auto"],
        typer.Option("--precision", help="auto: fp16 or int8, whichever is quicker on this GPU."),
    ] = "auto",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Folder for the engines; without it ~/.cache/edge-resad/engines/BUNDLE_ID."),
    ] = None,
    sm: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--sm", help="GPU to build for, such as SM86; TensorRT-RTX alone builds for others than its own."),
    ] = None,
    workspace_mb: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workspace-mb", min=1, help="Most memory for a layer's scratch; TensorRT's own without it."),
    ] = None,
    optimization_level: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--optimization-level", min=0, max=5, help="0 builds fastest, 5 runs fastest."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again what is already built.")] = False,
) -> None:
    """Build TensorRT engines of a bundle on this device: the best precision that TensorRT takes."""
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.auto import build_quickest
    from edge_resad.engine.build import build_engines
    from edge_resad.engine.engine_file import Settings

    opened = open_bundle(bundle)
    settings = Settings(sm=sm, workspace_mb=workspace_mb, optimization_level=optimization_level)
    with _progress("build", show=sys.stderr.isatty()) as step:
        if precision == "auto":
            done = build_quickest(opened, out, settings=settings, force=force, progress=step)
            made = list(done.built.values())
        else:
            done = None
            made = [build_engines(opened, precision, out, settings=settings, force=force, progress=step)]
    for one in made:
        for line in _engine_lines(one):
            print(line)
    if done is not None:
        print(f"run {done.choice.precision}: {done.choice.why}")


@app.command()
def doctor(
    station: Annotated[Optional[Path], typer.Argument(help="The station file; without it, the machine alone.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is here, what is missing and what to do. Changes nothing; exit code 1 where there is a problem."""
    from edge_resad.device.doctor import Check, examine

    checks: list[Check] = []
    for check in examine(station):
        checks.append(check)
        if not as_json:
            print(f"{check.state:8} {check.name:13} {check.says}", flush=True)
    problems, warnings = (sum(check.state == state for check in checks) for state in ("problem", "warning"))
    if as_json:
        said = [{"check": check.name, "state": check.state, "says": check.says} for check in checks]
        print(json.dumps({"checks": said, "problems": problems, "warnings": warnings}))
    else:
        print(f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}")
    if problems:
        raise typer.Exit(1)


@app.command()
def bench(
    bank: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--bank", "-b", help="The product's bank; without it, drawn good parts are enrolled."),
    ] = None,
    precision: OwnPrecisionOption = None,
    provider: ProviderOption = "cpu",
    engines: EnginesOption = None,
    io_memory: Annotated[
        Literal["auto", "device", "mapped"],
        typer.Option(help="TensorRT: picture and map in the GPU's memory or the host's; auto tries both."),
    ] = "auto",
    frames: Annotated[Optional[int], typer.Option(min=1, help="Parts to count; 200 without it.")] = None,  # noqa: UP045
    minutes: Annotated[Optional[float], typer.Option(min=0.01, help="How long, instead of --frames.")] = None,  # noqa: UP045
    size: Annotated[str, typer.Option(callback=_width_and_height, help="WIDTHxHEIGHT of the frames.")] = "1280x720",
    rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.1, max=1000, help="Parts per second; without it, one as soon as the other is done."),
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Another part always waits, as at the line's limit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    page: Annotated[Optional[Path], typer.Option(help="Also write a page, PAGE.html, with the histogram.")] = None,  # noqa: UP045
    bundle: BundleOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Say what this device does: every stage of a part's way, cold start, throughput, memory, heat."""
    from datetime import date

    from rich.console import Console

    from edge_resad.bench.bench import FRAMES, Request, run_bench
    from edge_resad.bench.page import write_bench_page
    from edge_resad.bench.report import as_json as figures_json
    from edge_resad.bench.report import as_table
    from edge_resad.demo import products

    if frames is not None and minutes is not None:
        raise typer.BadParameter("give --frames or --minutes, not both")
    if queue and rate is not None:
        raise typer.BadParameter("give --rate or --queue, not both: at a rate parts come whether or not one waits")
    _check_engines(provider, engines)
    if io_memory != "auto" and provider != "tensorrt":
        raise typer.BadParameter(f"--io-memory is TensorRT's, and --provider is {provider}. Add --provider tensorrt")
    width, height = (int(pixels) for pixels in size.split("x"))
    request = Request(
        bank=bank, bundle=bundle, precision=precision, provider=provider, engines=engines, io_memory=io_memory,
        threads=threads, size=(width, height),
        frames=frames or FRAMES, minutes=minutes, rate=rate, queue=queue,
    )  # fmt: skip
    with _progress("bench", show=sys.stderr.isatty()) as step:
        figures = run_bench(request, products, progress=step)
    if page is not None:
        write_bench_page(figures, page, day=date.today())
    if as_json:
        print(json.dumps(figures_json(figures)))
    else:
        Console().print(as_table(figures), highlight=False)


@app.command()
def drift(
    station: Annotated[Path, typer.Argument(help="The station file.")],
    page: Annotated[Optional[Path], typer.Option("--out", help="Also write a page, PAGE.html.")] = None,  # noqa: UP045
    learn_anew: Annotated[
        bool, typer.Option("--learn-anew", help="Forget what is usual: the line is as it should be now.")
    ] = False,
    camera: Annotated[Optional[str], typer.Option(help="Of this camera alone.")] = None,  # noqa: UP045
) -> None:
    """Show the charts of a station's slow changes, as they were last kept, or let it learn anew what is usual."""
    from datetime import date

    from rich.console import Console
    from rich.table import Table

    from edge_resad.device.drift.charts_file import read_charts
    from edge_resad.device.drift.page import rows_of, write_drift_page
    from edge_resad.device.lane import charts_file
    from edge_resad.device.settings import load_station

    told = load_station(station)
    names = [one.name for one in told.cameras]
    if camera is not None and camera not in names:
        raise EdgeResadError(f"the station has no camera {camera}. It has: {', '.join(names)}")
    files = {name: charts_file(told, name) for name in names if camera in (None, name)}
    if learn_anew:
        for name, file in files.items():
            file.unlink(missing_ok=True)
            print(f"{name}: what is usual is learnt anew")
        return
    kept = {name: read_charts(file) for name, file in files.items()}
    if not any(kept.values()):
        where = ", ".join(str(file) for file in files.values())
        raise EdgeResadError(f"nothing is charted yet: there is no {where}. A station writes it within a minute")
    if page is not None:
        write_drift_page(kept, told.station.device, page, day=date.today())
    table = Table()
    for title in ("camera", "product", "chart", "parts", "usual", "now", "of its limit"):
        table.add_column(title, justify="left" if title in ("camera", "product", "chart") else "right")
    for row in rows_of(kept):
        share = "" if row.share is None else f"{row.share:.0%}"
        table.add_row(row.camera, row.product, row.chart, str(row.parts), row.usual, row.now, share)
    Console().print(table, highlight=False)
    for name, products in kept.items():
        for product, charts in products.items():
            for sentence in charts.said().values():
                print(f"{product} on {name}: {sentence}.")


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


def _check_engines(provider: str, engines: Path | None) -> None:
    if engines is not None and provider != "tensorrt":
        raise typer.BadParameter(f"--engines are TensorRT's, and --provider is {provider}. Add --provider tensorrt")


def _product(given: str, output: Path) -> str:
    """The product's name: what was given, or what the bank's file is called as far as it may stand in a message."""
    from edge_resad.messages import is_id

    if given and not is_id(given):
        raise typer.BadParameter(
            f"{given!r} is no name for a product: use 1 to 64 letters, digits, - or _, as in the station file"
        )
    called = re.sub("[^A-Za-z0-9_-]+", "-", output.name.partition(".")[0]).strip("-")[:64]
    return given or called or "product"


def _unless_reference(file: Path, references: Sequence[str]) -> NDArray[np.uint8] | None:
    """The picture in a file; None where it is one of a bank's references, named by their digests."""
    from edge_resad.bundle import file_digest
    from edge_resad.image import decode_image, file_content

    content = file_content(file)
    image = decode_image(content, file)
    own = {file_digest(content), hashlib.sha256(image.tobytes()).hexdigest()}  # enrolled from a file, or from pixels
    return None if own & set(references) else image


def _check_inspectable(paths: Sequence[str], out: Path | None) -> None:
    """Refuse a camera, and a folder for pictures from which the next run would take them as parts."""
    from edge_resad.device.settings import is_camera
    from edge_resad.errors import ImageError

    for path in paths:
        if is_camera(path):
            raise ImageError(f"{path} is a camera. A station inspects it: name it in a file for edge-resad run.")
        folder = os.path.dirname(path) if os.path.isfile(path) else path
        if out is not None and os.path.realpath(out) == os.path.realpath(folder):
            raise ImageError(
                f"--out {out} is the folder of the parts: the next run would take its pictures for parts. "
                "Name another folder."
            )


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
    from edge_resad.image import VIDEO_SUFFIXES, image_files, read_image

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
        | ({} if region.roi is None else {"roi": region.roi})
        | ({} if region.area_mm2 is None else {"area_mm2": round(region.area_mm2, 4), "size_mm": region.size_mm})
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
        if verdict.regions[0].size_mm is not None:
            line += ", {:.1f} x {:.1f} mm".format(*verdict.regions[0].size_mm)
    return line


def _aurocs(image: float, pixel: float | None) -> str:
    return f", held out image AUROC {image:.3f}" + ("" if pixel is None else f", pixel AUROC {pixel:.3f}")


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


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _write_picture(folder: Path, name: str, picture: NDArray[np.uint8], written: set[Path]) -> None:
    from edge_resad.errors import ImageError
    from edge_resad.overlay import encoded

    part, _, frame = Path(name).name.partition("#")  # clip.mp4#7: a frame of a video
    stem = f"{Path(part).stem}-{frame}" if frame else Path(part).stem
    file = folder / f"{stem}.jpg"
    scratch = folder / f".{stem}.jpg.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 2
        while file in written:  # two folders may hold pictures of one name
            file = folder / f"{stem}-{number}.jpg"
            number += 1
        scratch.write_bytes(encoded(picture))
        scratch.replace(file)
        written.add(file)
    except OSError as error:
        with suppress(OSError):  # where the folder is a file there is nothing to take away
            scratch.unlink()
        raise ImageError(f"cannot write the picture {file}: {error.strerror}. Check space and rights.") from error


def _engine_lines(built: Built) -> Iterator[str]:
    """What was built, of which rung, and why of no better one."""
    about = built.engines.about
    version = f"{about.tensorrt} {about.tensorrt_version}"
    was = "" if built.fresh else ", already built"
    yield f"{about.precision}: rung {about.rung}, {version}, in {built.engines.folder}{was}"
    for name, graph in (("encoder", about.encoder), ("detector", about.detector)):
        weights = "" if graph.weights_bytes is None else f", weights {graph.weights_bytes / 1e6:.2f} MB"
        yield f"  {name:8}  {graph.size / 1e6:6.2f} MB, {graph.seconds:.1f} s{weights}"
    for refused in about.refused:
        graph_name = f"{refused.graph}: " if refused.graph else ""
        yield f"  not {refused.rung}: {graph_name}{refused.reason}"


def _of(head: str, step: _progress, name: str, done: int, total: int) -> None:
    """Progress of one head among several."""
    step(f"{head}: {name}", done, total)


@contextmanager
def _needing_torch(what: str) -> Iterator[None]:
    """Imports that need torch.

    Raises:
        TrainingError: it is not installed.
    """
    from edge_resad.errors import TrainingError

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise TrainingError(
            f"{what} needs torch, which is not installed here. It is the workstation's: "
            "pip install 'edge-resad[workstation]'"
        ) from error


def _checkpoint_scorer(path: Path, threads: int, backbone_weights: Path | None) -> Scorer:
    """A trained head of ResAD's, in torch.

    Raises:
        TrainingError: torch is not installed, or the file holds no such head.
        BundleError: its backbone lacks its weights.
    """
    with _needing_torch("judging a checkpoint"):
        from edge_resad.train.head_scorer import HeadScorer
    return HeadScorer(path, threads=threads, backbone_weights=backbone_weights)


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
