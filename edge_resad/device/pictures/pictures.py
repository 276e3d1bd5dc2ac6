"""The pictures that stay on the device: every reject, some passes, and what could not be judged. Never waited for."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.device.pictures.album import ABOUT, FRAME, HEAT, Album, Kind, claim, find_picture
from edge_resad.device.pictures.pool import Pool, Slot
from edge_resad.device.pictures.training import MOST_FRAMES, Progress, Training
from edge_resad.device.pipeline import Inspection
from edge_resad.device.verdict_log import as_record
from edge_resad.errors import PicturesError
from edge_resad.messages import MAX_POLYGON, MAX_REGIONS, is_id
from edge_resad.overlay import encoded, small_overlay

log = logging.getLogger(__name__)

Loss = Literal["behind", "no_room", "disk", "stopped", "error"]
"""Why a picture was not kept: no buffer was free, no room within budget and floor, the disk refused, the station ended
before it was written, a bug of ours."""

CAPTURES = "captures"
CAPTURES_KNOWN = 100  # of which one can ask how far they came
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
"""Of a kept frame: colours at full sharpness. `python -m benchmarks.pictures` measures what it costs beside a PNG."""
HEAT_SIDE = 960  # pixels of the longer side at most: it is for looking at
SHARE_ROUNDING = 1e-9
UNJUDGED_S = 10.0  # at most one picture in this time of what one camera shows for one reason: a black one says little
RETRY_S = 5.0  # pause before a disk that refused is asked again
TIDY_S = 10.0  # how often the free space is looked at while nothing comes
CLOSE_S = 1.0  # how long the last pictures may take when the station stops
NICENESS = 5  # of the writer: the line comes first


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A frame on its way to the disk, in a buffer of ours."""

    slot: Slot
    kind: Kind | None  # None: for training alone
    training: Training | None
    inspection: Inspection
    score_map: NDArray[np.float32] | None
    event_ids: tuple[str, ...]


class Pictures:
    """Takes frames from the line, writes them in a thread of its own. `keep` waits for nothing and raises nothing."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        min_free_bytes: int,
        rejects: bool = True,
        passes: float = 0.01,
        not_inspected: bool = True,
        retry_s: float = RETRY_S,
        say: Callable[[str | None], None] | None = None,
        album: Album | None = None,
    ) -> None:
        """Remember what to keep.

        passes: share of the passed parts, spaced evenly.
        say:    who puts into the station's state why nothing can be kept, or that it can again.
        album:  who stores; the folder's own without it.
        """
        self.kept: Counter[Kind] = Counter()
        self.not_kept: Counter[Loss] = Counter()
        self.problem: str | None = None  # why nothing can be kept now, in a sentence
        self._folder = folder
        self._album = album or Album(folder, max_bytes=max_bytes, min_free_bytes=min_free_bytes)
        self._min_free_bytes = min_free_bytes
        self._rejects = rejects
        self._passes = passes
        self._not_inspected = not_inspected
        self._retry_s = retry_s
        self._say = say
        self._pool = Pool()
        self._due: dict[str, float] = {}  # camera -> passes to be kept that have come together, less than one
        self._shown_at: dict[tuple[str, str], float] = {}  # camera, reason -> when the last one was kept, mono s
        self._frame_bytes = 0  # of the last frame
        self._training: Training | None = None
        self._captures: deque[Training] = deque(maxlen=CAPTURES_KNOWN)
        self._asking = threading.Lock()  # one capture is begun at a time
        self._said: set[str] = set()  # kinds of our own errors
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()  # guards the jobs, never held over disk work
        self._busy = True  # with looking what is there, at first
        self._in_hand = False  # a job is being done
        self._closing = False
        self._is_read = False  # the album knows what is there
        self._claim: int | None = None  # handle of the folder's lock
        self._again_at = 0.0  # mono s: when a disk that refused is asked again
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Pictures:
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_S)  # a disk that hangs keeps its thread, not us
        with self._changed:
            self.not_kept["stopped"] += len(self._jobs) + self._in_hand
            self._jobs.clear()
        training = self._training
        if training is not None and not training.ended:
            self._end(training, "The station stopped.")

    def keep(self, inspection: Inspection, score_map: NDArray[np.float32], *, event_ids: Sequence[str] = ()) -> None:
        """Take one part's picture, where it is one to keep.

        event_ids: the messages that speak of this part: its verdict, and its alert where there is one.
        """
        try:
            self._keep(inspection, score_map, tuple(event_ids))
        except Exception as error:  # a picture less; the next part is already on its way
            self._stumbled(error)

    def health(self) -> str | None:
        """Why nothing can be kept now, in a sentence; None when all is well."""
        return self.problem

    @property
    def passes(self) -> float:
        """The share of the passed parts that is kept. May be set by any thread."""
        return self._passes

    @passes.setter
    def passes(self, share: float) -> None:
        self._passes = share

    def find(self, event_id: str) -> Path | None:
        """The kept frame of the part that a message spoke of, by the message's id. For any thread."""
        return find_picture(self._folder, event_id)

    def capture(
        self, wanted: int, *, label: str | None = None, camera: str | None = None, name: str | None = None
    ) -> Path:
        """Take the next frames as training material, whole and lossless; the folder into which they go. For any thread.

        label:  `good`, or a defect's name: the folder inside the folder.
        camera: whose frames; every camera's without it.
        name:   of the folder; the next number without it.

        Raises:
            PicturesError: one is being taken, there is no room, or the folder cannot be made.
        """
        _check_capture(wanted, label, name)
        with self._asking:
            running = self._training
            if running is not None and not running.ended:
                raise PicturesError(f"a capture is being taken: {running.progress}. Wait for it, or stop it.")
            captures = self._folder / CAPTURES
            try:
                captures.mkdir(parents=True, exist_ok=True)
                self._check_room(wanted)
                name = name or _next_name(captures)
                training = Training(captures / name, wanted, label=label, camera=camera)
                training.begin()
            except FileExistsError:
                raise PicturesError(f"there is a {name or 'file'} in {captures}. Choose another name.") from None
            except OSError as refused:
                raise PicturesError(
                    f"no capture can begin in {captures}: {refused.strerror}. Make room, or check its disk and rights."
                ) from refused
            log.info("the next %d frames are taken into %s", wanted, training.folder)
            self._training = training
            self._captures.append(training)
            return training.folder

    @property
    def capturing(self) -> Progress | None:
        """How far the last capture is; None before the first."""
        training = self._training
        return None if training is None else training.progress

    def progress(self, folder: str | None = None) -> Progress | None:
        """How far a capture of this run is, by its folder; the last one without it. None where there is none."""
        if folder is None:
            return self.capturing
        return next((one.progress for one in list(self._captures) if str(one.folder) == folder), None)

    def stop_capture(self) -> Progress | None:
        """End the capture that is being taken; how far it came."""
        training = self._training
        if training is not None and not training.ended:
            self._end(training, "It was stopped.")
        return self.capturing

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was handed over so far is written or given up; False where the time was too short."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def _check_room(self, wanted: int) -> None:
        """Lossless pictures take less than what they hold, never more."""
        if not self._album.room_for(wanted * self._frame_bytes):
            raise PicturesError(
                f"{wanted} frames may take {wanted * self._frame_bytes / 1e6:.0f} MB, which would leave less than "
                f"{self._min_free_bytes / 1e6:.0f} MB free on the disk of {self._folder}. Free disk space, or ask for "
                "fewer frames."
            )

    # The line's side

    def _keep(self, inspection: Inspection, score_map: NDArray[np.float32], event_ids: tuple[str, ...]) -> None:
        if inspection.frame.missed is not None:
            return  # a part that has no picture
        image = inspection.frame.image
        self._frame_bytes = image.nbytes
        if self._pool.see(image.nbytes):
            with self._changed:
                self._changed.notify_all()
        kind = self._kind(inspection)
        training = self._training
        if training is not None and not training.wants(inspection):
            training = None
        if kind is None and training is None:
            return
        slot = self._pool.borrow(leave=self._leave(kind, training))
        if slot is None:
            self._missed(kind, inspection.camera)
            return
        try:
            pixels, cells = slot.take(image, score_map if kind == "reject" else None)
        except BaseException:
            self._pool.give_back(slot)
            raise
        if training is not None:
            training.hand()
        copy = replace(inspection, frame=replace(inspection.frame, image=pixels, truth=None))
        job = _Job(
            slot=slot, kind=kind, training=training, inspection=copy, score_map=cells,
            event_ids=event_ids,
        )  # fmt: skip
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def _kind(self, inspection: Inspection) -> Kind | None:
        """What a part's picture is kept as; None where it is not."""
        camera, verdict, now = inspection.camera, inspection.verdict, inspection.frame.captured_mono
        if verdict is None:
            last = self._shown_at.get((camera, str(inspection.not_inspected)), -UNJUDGED_S)
            if not self._not_inspected or 0 <= now - last < UNJUDGED_S:
                return None
            self._shown_at[camera, str(inspection.not_inspected)] = now
            return "not_inspected"
        if verdict.status == "fail":
            return "reject" if self._rejects else None
        due = self._due.get(camera, 1 - self._passes) + self._passes
        if due >= 2 - SHARE_ROUNDING:  # one was put off until the next came
            due -= 1
            self.not_kept["behind"] += 1
        is_due = due >= 1 - SHARE_ROUNDING
        self._due[camera] = due - 1 if is_due else due
        return "pass" if is_due and self._passes else None

    def _leave(self, kind: Kind | None, training: Training | None) -> int:
        """How many buffers a picture leaves for what matters more: passes are the first to be skipped."""
        if kind == "reject":
            return 0
        if kind == "not_inspected" or training is not None:
            return 1
        return self._pool.size // 2

    def _missed(self, kind: Kind | None, camera: str) -> None:
        if kind == "pass":
            self._due[camera] += 1  # the next one instead
        elif kind is not None:  # a capture takes the next one
            self.not_kept["behind"] += 1

    # The writer's side

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # of this thread alone, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._try(self._read)
        while True:
            with self._changed:
                self._busy = self._in_hand = False
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: self._closing or self._jobs or self._pool.is_cold, TIDY_S):
                    job = None
                elif self._pool.is_cold and not self._closing:
                    job, self._busy = None, True
                elif not self._jobs:
                    self._let_go()
                    return
                else:
                    job, self._busy, self._in_hand = self._jobs.popleft(), True, True
            if job is None:
                self._try(self._pool.warm if self._pool.is_cold else self._tidy)
                continue
            try:
                self._do(job)
            finally:
                self._pool.give_back(job.slot)

    def _do(self, job: _Job) -> None:
        if job.training is not None and job.training.problem is None:
            self._train(job, job.training)
        if job.kind is None:
            return
        if self.problem is not None and time.monotonic() < self._again_at:
            self.not_kept["disk"] += 1
            return
        try:
            self._store(job, job.kind)
        except (OSError, PicturesError) as refused:
            self.not_kept["disk"] += 1
            self._refused(refused)
        except Exception as error:
            self._stumbled(error)

    def _store(self, job: _Job, kind: Kind) -> None:
        if not self._is_read:
            self._read()
        files = _files_of(job)
        try:
            path = self._album.store(kind, files, job.event_ids)
        except FileNotFoundError:  # somebody took the folder away: begin it anew
            self._is_read = False
            self._read()
            path = self._album.store(kind, files, job.event_ids)
        if path is None:
            self.not_kept["no_room"] += 1
            if kind == "reject":
                self._trouble(
                    f"pictures of rejects find no room in {self._folder}: its disk has less than "
                    f"{self._min_free_bytes / 1e6:.0f} MB free, or [pictures] max_mb is less than one picture. "
                    "Free disk space; inspection goes on."
                )
            return
        self.kept[kind] += 1
        self._recovered()

    def _read(self) -> None:
        self._let_go()
        self._claim = claim(self._folder)
        self._album.read()
        self._is_read = True

    def _tidy(self) -> None:
        if self._is_read:
            self._album.tidy()
        else:
            self._read()
            self._recovered()

    def _let_go(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _try(self, step: Callable[[], object]) -> None:
        """Something that may wait for better times."""
        try:
            step()
        except (OSError, PicturesError) as refused:
            self._refused(refused)
        except Exception as error:
            self._stumbled(error)

    def _train(self, job: _Job, training: Training) -> None:
        frame = job.inspection.frame
        try:
            if not self._album.room_for(frame.image.nbytes):
                self._end(training, "The disk has no room for more.")
                return
            training.write(job.inspection)
        except Exception as error:
            if not isinstance(error, OSError):
                self._stumbled(error)
            self._end(training, f"The next frame could not be written: {getattr(error, 'strerror', None) or error}.")
            return
        progress = training.progress
        if progress.ended:
            log.info("%d frames were taken into %s", progress.written, progress.folder)
        elif progress.written % max(1, progress.wanted // 4) == 0:
            log.info("%s", progress)

    def _end(self, training: Training, why: str) -> None:
        training.problem = why
        log.warning("the capture ends early: %s", training.progress)

    def _refused(self, refused: OSError | PicturesError) -> None:
        if isinstance(refused, PicturesError):
            self._trouble(f"pictures are not kept: {refused}")
        else:
            self._trouble(
                f"pictures cannot be kept in {self._folder}: {refused.strerror or refused}. Make room, or check the "
                "disk; inspection goes on."
            )
        self._is_read = self._is_read and self._folder.is_dir()

    def _trouble(self, sentence: str) -> None:
        self._again_at = time.monotonic() + self._retry_s
        is_news = self.problem is None
        self.problem = sentence
        if is_news:
            log.warning("%s", sentence)
            if self._say is not None:
                self._say(sentence)

    def _recovered(self) -> None:
        if self.problem is not None:
            log.info("pictures are kept again in %s, %d were not", self._folder, self.not_kept.total())
            self.problem = None
            if self._say is not None:
                self._say(None)

    def _stumbled(self, error: Exception) -> None:
        self.not_kept["error"] += 1
        kind = type(error).__name__
        if kind not in self._said:
            self._said.add(kind)
            log.error("a picture was not kept (%s); more of this kind are only counted", kind, exc_info=error)


def _files_of(job: _Job) -> dict[str, bytes]:
    """What is written of a part: what was said of it, the frame, and of a reject where the map is hot."""
    image, verdict = job.inspection.frame.image, job.inspection.verdict
    about = {**_about(job), "kind": job.kind, "size": [image.shape[1], image.shape[0]]}
    files = {
        ABOUT: json.dumps(about, separators=(",", ":")).encode(),
        FRAME: bytes(cv2.imencode(FRAME, image, QUALITY)[1].tobytes()),
    }
    if job.score_map is not None and verdict is not None:
        heat = small_overlay(
            image,
            job.score_map,
            threshold=verdict.region_threshold or verdict.threshold,
            polygons=[region.polygon for region in verdict.regions],
            side=HEAT_SIDE,
        )
        files[HEAT] = encoded(heat)
    return files


def _about(job: _Job) -> dict[str, Any]:
    """The line of the verdict log, with what a picture needs beside it."""
    about = {**as_record(job.inspection), "event_ids": job.event_ids}
    verdict = job.inspection.verdict
    if verdict is not None and verdict.regions:
        told: Any = about["regions"]
        about["regions_total"] = len(verdict.regions)
        about["regions"] = [
            {**said, "polygon": region.polygon[:: -(-len(region.polygon) // MAX_POLYGON) or 1]}
            for said, region in zip(told[:MAX_REGIONS], verdict.regions, strict=False)
        ]
    return about


def _check_capture(wanted: int, label: str | None, name: str | None) -> None:
    if not 1 <= wanted <= MOST_FRAMES:
        raise PicturesError(f"{wanted} frames were asked for, expected 1 to {MOST_FRAMES}.")
    for what, given in (("label", label), ("name", name)):
        if given is not None and not is_id(given):
            raise PicturesError(
                f'the {what} of a capture is "{given[:80]}", expected 1 to 64 letters, digits, - or _, such as good.'
            )


def _next_name(captures: Path) -> str:
    taken = {folder.name for folder in captures.iterdir()} if captures.is_dir() else set()
    number = 1
    while f"capture-{number:04d}" in taken:
        number += 1
    return f"capture-{number:04d}"
