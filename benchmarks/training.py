"""How long an epoch of training a head takes with kept features, beside a loop that computes them anew every epoch.

Both sides take the same steps on the same drawn parts, stage 2, as `edge-resad train` does; the other one runs the
backbone on every image and reference whenever it is needed, as released training code does. Each runs in a process of
its own, so that its peak memory is its own, in turns A B, B A, so that a drift of the machine meets both.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, cast

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.latency import _machine as machine
from edge_resad.datasets.find import find_classes
from edge_resad.demo.products import DEFECTS, FAMILIES, draw
from edge_resad.image import fit, read_image
from edge_resad.model.detector import Encoder, load_backbone
from edge_resad.model.profile import LEARNED_PROFILES
from edge_resad.train.course import Draws
from edge_resad.train.features import ClassFeatures, FeatureCache
from edge_resad.train.loop import course_of, learn
from edge_resad.train.request import profile_named
from edge_resad.train.team import Team

SIDES = ("kept", "computed")
TITLES = {"kept": "features kept", "computed": "features computed every epoch"}
SHOTS = 4


def main(
    images: Annotated[int, typer.Option(min=8, help="Images of each of the four drawn products.")] = 12,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 12,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a turn.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 2,
    profile: Annotated[str, typer.Option(help="Of a backbone whose weights come with a package.")] = "edge-resad",
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    side: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path, typer.Option(hidden=True)] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure seconds an epoch and peak memory of training, with kept and with recomputed features."""
    torch.set_num_threads(threads)
    if side:
        print(json.dumps(_turn(side, folder, profile, batch, epochs)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        draw_set(Path(scratch) / "set", images)
        start = time.perf_counter()
        cache = FeatureCache(Path(scratch) / "cache", LEARNED_PROFILES[profile])
        for one in find_classes(Path(scratch) / "set"):
            cache.of(one)
        once = time.perf_counter() - start
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        for number in range(rounds):
            for name in SIDES if number % 2 == 0 else reversed(SIDES):
                told = ["--side", name, "--folder", scratch, "--batch", batch, "--epochs", epochs, "--profile", profile]
                command = [sys.executable, "-m", "benchmarks.training", *map(str, told), "--threads", str(threads)]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                turns[name].append(json.loads(printed))
    results: dict[str, Any] = {
        "images": images * len(FAMILIES),
        "profile": profile,
        "threads": threads,
        "features_once_s": round(once, 3),
        **{f"{name}_epoch_s": _summary(turns[name]) for name in SIDES},
        **{f"{name}_peak_mb": round(max(turn["peak_mb"] for turn in turns[name])) for name in SIDES},
        "machine": machine(),
    }
    for name in ("p50", "min"):
        results[f"ratio_{name}"] = round(results["computed_epoch_s"][name] / results["kept_epoch_s"][name], 2)
    if as_json:
        print(json.dumps(results))
    else:
        _print_table(results)


def draw_set(folder: Path, images: int) -> None:
    """Products of the demo in MVTec AD's layout: half of the images to learn from, a quarter good, a quarter not."""
    for family in FAMILIES:
        for index in range(images):
            kind = ("train/good", "train/good", "test/good", "test/defect")[index % 4]
            defect = list(DEFECTS)[index % len(DEFECTS)] if kind == "test/defect" else None
            part = draw(family, index, size=256, defect=defect, severity=3)
            _write(folder / family / kind / f"{index}.png", part.image)
            if defect:
                _write(folder / family / f"ground_truth/defect/{index}_mask.png", part.mask.astype(np.uint8) * 255)


@dataclass(frozen=True, kw_only=True)
class Recomputed(ClassFeatures):
    """Features that are computed whenever they are asked for."""

    encoder: Encoder

    def take(self, images: NDArray[np.integer]) -> tuple[NDArray[np.float16], ...]:
        size, encoder = self.encoder.profile.size, self.encoder
        files = [read_image(self.paths[index]) for index in images]
        fitted = np.stack([fit(image, size, np.empty((size, size, 3), np.uint8)) for image in files])
        with torch.inference_mode():
            bgr = torch.from_numpy(fitted).permute(0, 3, 1, 2).float()  # (n, 3, S, S)
            rgb = ((bgr - cast(torch.Tensor, encoder.mean)) * cast(torch.Tensor, encoder.scale))[:, [2, 1, 0]]
            return tuple(feature.flatten(2).mT.half().numpy() for feature in encoder.backbone(rgb))


def _turn(side: str, folder: Path, name: str, batch: int, epochs: int) -> dict[str, Any]:
    """Some epochs of one side, in this process: seconds of each, and what the process needed at most."""
    profile = profile_named(name, batch=batch)
    backbone = load_backbone(profile)
    cache = FeatureCache(folder / "cache", profile, backbone=backbone)
    features = [cache.of(one) for one in find_classes(folder / "set")]
    if side == "computed":
        encoder = Encoder(profile, backbone).eval()
        kept = [{field.name: getattr(one, field.name) for field in fields(one)} for one in features]
        features = [Recomputed(**one, encoder=encoder) for one in kept]
    course = course_of(profile, Draws(shots=(SHOTS,)), Team())
    course.check(features)
    course.start(course.epochs - 1, features)  # the last stage, which sees all parts
    random, shuffle = np.random.default_rng(0), torch.Generator().manual_seed(0)
    warm_up, *_ = course.batches(features, random)
    learn(course, features, warm_up, shuffle)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for one in course.batches(features, random):
            learn(course, features, one, shuffle)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _summary(turns: list[dict[str, Any]]) -> dict[str, float]:
    seconds = [second for turn in turns for second in turn["seconds"]]
    return {"p50": round(statistics.median(seconds), 3), "min": round(min(seconds), 3)}


def _print_table(results: dict[str, Any]) -> None:
    table = Table(title=f"{results['profile']}, {results['images']} images, {results['threads']} thread(s)")
    for column in ("", "s an epoch, min", "p50", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    for name in SIDES:
        taken = results[f"{name}_epoch_s"]
        table.add_row(TITLES[name], f"{taken['min']:.2f}", f"{taken['p50']:.2f}", str(results[f"{name}_peak_mb"]))
    console = Console()
    console.print(table)
    console.print(f"computed over kept {results['ratio_p50']:.2f} (p50), {results['ratio_min']:.2f} (min)")
    console.print(f"keeping them took {results['features_once_s']:.1f} s, once")
    console.print(results["machine"], highlight=False)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"cannot write {path}")


if __name__ == "__main__":
    typer.run(main)
