"""`python -m benchmarks.faults`: what faults do to a station, how soon it notices and is well again, and lost parts."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from benchmarks.faults.belt import BAD_EVERY
from benchmarks.faults.broker_faults import BROKER_FAULTS
from benchmarks.faults.camera_faults import CAMERA_FAULTS, Play
from benchmarks.faults.disk_faults import DISK_FAULTS
from benchmarks.faults.engine_faults import ENGINE_FAULTS
from benchmarks.faults.line_faults import LINE_FAULTS
from benchmarks.faults.process_faults import PROCESS_FAULTS
from benchmarks.faults.scene import RATE, Outcome, Stage
from benchmarks.faults.trigger_faults import TRIGGER_FAULTS
from edge_resad.bank import save_bank
from edge_resad.bench.line import draw_parts
from edge_resad.bundle import Precision, open_bundle
from edge_resad.demo import products
from edge_resad.engine.enrolment import enrol

FAULTS: dict[str, Play] = {
    **CAMERA_FAULTS, **TRIGGER_FAULTS, **ENGINE_FAULTS, **LINE_FAULTS, **BROKER_FAULTS, **DISK_FAULTS,
    **PROCESS_FAULTS,
}  # fmt: skip
SIDE = 256  # pixels of a picture
THRESHOLD = 2.5  # between drawn good parts and the defective one: a fault's table asks for times, not for verdicts
COLUMNS = (
    "Fault", "What the log says first", "Noticed, s", "Over, s", "Parts", "Verdicts", "None, signalled",
    "Lost unsignalled", "Rejects at the PLC", "Messages lost",
)  # fmt: skip
WORDS = 110  # letters of what happened, in the table


def main(
    only: Annotated[Optional[list[str]], typer.Option(help="A fault by its name; all without it.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a station have every fault; exit code 1 where a part was lost and nobody was told."""
    logging.getLogger("edge_resad").setLevel(logging.ERROR)  # the table says it
    unknown = [name for name in only or () if name not in FAULTS]
    if unknown:
        raise SystemExit(f"no fault {unknown[0]}. There are: {', '.join(FAULTS)}")
    outcomes = play(only or list(FAULTS), say=None if as_json else Console(stderr=True))
    if as_json:
        print(json.dumps({"rate": RATE, "bad_every": BAD_EVERY, "faults": [asdict(one) for one in outcomes]}))
    else:
        show(outcomes)
    if any(is_bad(one) for one in outcomes):
        raise SystemExit(1)


def play(names: list[str], say: Console | None = None) -> list[Outcome]:
    """Every named fault, one after the other."""
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        stage = _stage(Path(folder))
        for name in names:
            began = time.monotonic()
            found = FAULTS[name](stage)
            outcomes.append(replace(found, happened=found.happened.replace(f"{folder}/", "")))  # it is gone afterwards
            if say is not None:
                say.print(f"{name}: {time.monotonic() - began:.0f} s", highlight=False)
    return outcomes


def is_bad(outcome: Outcome) -> bool:
    """Whether something was lost and nobody was told."""
    return outcome.messages_lost > 0 or (outcome.account is not None and outcome.account.lost > 0)


def show(outcomes: list[Outcome]) -> None:
    """The table, as it stands in the documents."""
    print(f"{RATE:g} parts a second, one of {BAD_EVERY} defective; load {os.getloadavg()[0]:.0f}\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for one in outcomes:
        print("| " + " | ".join(_row(one)) + " |")


def _row(one: Outcome) -> list[str]:
    found = one.account
    if found is None:
        return [one.fault, f"not tried: {one.skipped}", *[""] * (len(COLUMNS) - 2)]
    figures = (found.shown, found.verdicts, found.signalled, found.lost, f"{found.rejects} of {found.failed}")
    times = _seconds(one.noticed_s), _seconds(one.recovered_s)
    return [one.fault, _short(one.happened), *times, *map(str, figures), str(one.messages_lost)]


def _stage(folder: Path) -> Stage:
    parts = draw_parts(products, "flange", (SIDE, SIDE))

    def enrolled(precision: Precision) -> Path:
        made = enrol(
            open_bundle(), parts.references, product="flange", precision=precision, threads=1, augment="off"
        ).bank  # fmt: skip
        limit = made.info.threshold.model_copy(update={"score": THRESHOLD, "how": "by hand", "promise": "For this."})
        bank = folder / f"{precision}.npz"
        save_bank(replace(made, info=made.info.model_copy(update={"threshold": limit})), bank)
        return bank

    return Stage(folder=folder, bank=enrolled("int8"), fp32_bank=enrolled("fp32"), parts=parts)


def _short(text: str) -> str:
    return text if len(text) <= WORDS else f"{text[: WORDS - 3]}..."


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    typer.run(main)
