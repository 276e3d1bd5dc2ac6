"""The factory on the disk: one class a variant, in the layout of MVTec AD, with a list of what each part is."""

from __future__ import annotations

import csv
import io
import json
import signal
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.factory.families import FACTORY
from edge_resad.demo.products.factory.part import draw, kinds_of
from edge_resad.errors import EdgeResadError
from edge_resad.whole_file import write_whole

MARK = "factory.json"
"""The file by which a folder of the factory is known; it holds what the folder was made with."""

SEVERITIES = (1, 2, 3)
TRIES, STRIDE = 20, 1_000_003  # other seeds for a defect that hides on this part

Progress = Callable[[int, int], None]
"""Called with the number of parts done and of all."""


class FactoryError(EdgeResadError):
    """The factory cannot write where it was told to, or not what it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is made of one variant."""

    out: Path  # the class's own folder
    family: str
    variant: int
    good: int  # parts for train/good
    test_good: int
    defective: int
    size: int  # pixels a side
    seed: int


def write_factory(
    out: Path,
    *,
    families: Sequence[str] = (),  # all
    variants: int = 2,
    first_variant: int = 1,
    good: int = 60,
    test_good: int | None = None,  # a third of good
    defective: int = 60,
    size: int = 256,
    seed: int = 1,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Write every variant of these families as a class: out/FAMILY-VARIANT/{train,test,ground_truth}/... and parts.csv.

    Returns the classes' folders. Classes that are complete already are left as they are, so that a run that was
    interrupted can go on.

    Raises:
        FactoryError: the folder holds something else or was made with other settings, or there is no such family.
    """
    chosen = _known(families)
    settings = {"good": good, "test_good": test_good, "defective": defective, "size": size, "seed": seed}
    with _said_of(out):
        _claim(out, settings)
    orders = [
        Order(
            out=out / f"{family}-{variant}",
            family=family,
            variant=variant,
            good=good,
            test_good=max(1, good // 3) if test_good is None else test_good,
            defective=defective,
            size=size,
            seed=seed,
        )
        for family in chosen
        for variant in range(first_variant, first_variant + variants)
    ]
    per_class = good + orders[0].test_good + defective if orders else 0
    with _said_of(out):
        for k, _ in enumerate(_made(orders, jobs)):
            if progress is not None:
                progress((k + 1) * per_class, len(orders) * per_class)
    return [order.out for order in orders]


@contextmanager
def _said_of(out: Path) -> Iterator[None]:
    """What the disk refuses, in one sentence."""
    try:
        yield
    except OSError as error:
        raise FactoryError(
            f"the factory cannot write into {out}: {error.strerror or error}. Check space and rights, and run it again "
            "with the same settings: it goes on with what is missing."
        ) from error


def _known(families: Sequence[str]) -> list[str]:
    unknown = [name for name in families if name not in FACTORY]
    if unknown:
        raise FactoryError(f'the factory makes no "{unknown[0]}". Choose of {", ".join(FACTORY)}.')
    return list(families) or list(FACTORY)


def _claim(out: Path, settings: dict[str, int | None]) -> None:
    """Make the folder ours, or refuse it."""
    mark = out / MARK
    if out.exists() and not out.is_dir():
        raise FactoryError(f"{out} is a file, a folder was expected. Name another one.")
    if not mark.exists():
        if out.exists() and any(out.iterdir()):
            raise FactoryError(f"{out} holds files that are not the factory's. Name an empty or a new folder.")
        out.mkdir(parents=True, exist_ok=True)
        write_whole(mark, (json.dumps(settings) + "\n").encode())
    elif mark.read_text(encoding="utf-8").strip() != json.dumps(settings):
        raise FactoryError(
            f"{out} was made with other settings: {mark.read_text(encoding='utf-8').strip()}. "
            "Give the same ones to go on with it, or name a new folder."
        )


def _made(orders: Sequence[Order], jobs: int) -> Iterable[None]:
    if jobs <= 1:
        yield from map(make_class, orders)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), initializer=_alone) as pool:
        try:
            with _interrupts_wait():  # in a process that begins too, until it knows what to do with them
                begun = [pool.submit(make_class, order) for order in orders]
            for done in as_completed(begun):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)  # what is not begun is not made where one failed


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all of us, and only the first needs to say so
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    cv2.setNumThreads(1)  # one process a core is quicker than threads within each


def make_class(order: Order) -> None:
    """Write one class, its list last: a class with a list is complete."""
    listing = order.out / "parts.csv"
    if listing.exists():
        return
    base = zlib.crc32(f"{order.family}-{order.variant}-{order.seed}".encode()) % 1_000_000_000
    rows = [_good(order, "train", k, base + k) for k in range(order.good)]
    rows += [_good(order, "test", k, base + order.good + k) for k in range(order.test_good)]
    rng = np.random.default_rng(base)
    kinds = kinds_of(order.family, order.variant)
    plan: list[str] = []
    while len(plan) < order.defective:
        plan += [kinds[k] for k in rng.permutation(len(kinds))]
    first = base + order.good + order.test_good
    rows += [_defective(order, k, first + k, plan[k]) for k in range(order.defective)]
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(("file", "defect", "severity", "seed", "share"))
    writer.writerows(rows)
    write_whole(listing, table.getvalue().encode())  # half a list would call the class complete


Row = tuple[str, str, int, int, float]


def _good(order: Order, split: str, number: int, seed: int) -> Row:
    part = draw(order.family, seed, size=order.size, variant=order.variant)
    name = f"{split}/good/{number:03d}.png"
    _write(order.out / name, part.image)
    return (name, "good", 0, seed, 0.0)


def _defective(order: Order, number: int, seed: int, defect: str) -> Row:
    severity = SEVERITIES[number % len(SEVERITIES)]
    for own in range(seed, seed + TRIES * STRIDE, STRIDE):
        part = draw(order.family, own, size=order.size, variant=order.variant, defect=defect, severity=severity)
        if part.mask.any():
            break
    else:
        raise ValueError(f"no {defect} can be seen on {order.family}, variant {order.variant}")
    name = f"test/{defect}/{number:03d}_s{severity}.png"
    _write(order.out / name, part.image)
    _write(order.out / f"ground_truth/{defect}/{number:03d}_s{severity}_mask.png", part.mask.astype(np.uint8) * 255)
    return (name, defect, severity, part.seed, round(float(part.mask.mean()), 6))


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    packed, content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not packed:
        raise FactoryError(f"{path} could not be packed as a PNG. Check the space on the disk.")
    path.write_bytes(content.tobytes())
