"""What training says of itself: one line an epoch in `log.csv`, and TensorBoard's event files where it is installed."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge_resad.errors import TrainingError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG = "log.csv"
EVENTS = "events"
Figures = Mapping[str, float | str]


class TrainingLog:
    """Opens with the epochs that are already there and goes on behind them.

    folder: made where there is none; None says nothing anywhere.
    epochs: done so far; what the files say of later ones, which a killed process has begun, is dropped.
    step:   done so far.
    """

    def __init__(self, folder: Path | None, epochs: int = 0, step: int = 0) -> None:
        self._folder = folder
        self._file = folder / LOG if folder else None
        self._epochs = epochs
        self._step = step
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> TrainingLog:
        if self._folder is None or self._file is None:
            return self
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._file.exists():
                _keep(self._file, self._epochs)
        except OSError as error:
            raise TrainingError(
                f"cannot write {self._file}: {error.strerror or error}. Expected a folder that this user may write to."
            ) from error
        if has_tensorboard():
            from torch.utils.tensorboard import SummaryWriter  # imports tensorboard, which is not needed otherwise

            self._writer = SummaryWriter(str(self._folder / EVENTS), purge_step=self._step + 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def step(self, step: int, said: Mapping[str, float]) -> None:
        """One step's losses and figures: for TensorBoard alone."""
        if self._writer is not None:
            for name, value in said.items():
                self._writer.add_scalar(f"train/{name}", value, step)

    def epoch(self, step: int, figures: Figures) -> None:
        """One epoch's line; the first line's names are the columns."""
        if self._file is None:
            return
        try:
            is_new = not self._file.exists()
            with self._file.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([list(figures)] * is_new)
                writer.writerow(figures.values())
        except OSError as error:
            raise TrainingError(f"cannot write {self._file}: {error.strerror or error}. Check the disk.") from error
        if self._writer is not None:
            for name, value in figures.items():
                if isinstance(value, float):
                    self._writer.add_scalar(f"epoch/{name}", value, step)
            self._writer.flush()


def has_tensorboard() -> bool:
    """Whether TensorBoard is installed."""
    return importlib.util.find_spec("tensorboard") is not None


def _keep(file: Path, epochs: int) -> None:
    """The first lines of a log: its columns and so many epochs, none half-written."""
    lines = file.read_bytes().splitlines(keepends=True)[: epochs + 1] if epochs else []
    scratch = file.with_name(f".{file.name}.part")
    scratch.write_bytes(b"".join(lines))
    if lines:
        scratch.replace(file)
    else:
        scratch.unlink()
        file.unlink()
