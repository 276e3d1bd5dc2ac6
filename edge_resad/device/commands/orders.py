"""Orders: each of the fleet's commands, carried out by the registry that the operator's page asks too."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from edge_resad.device.commands.ledger import Answer
from edge_resad.device.commands.tuning import Tuning
from edge_resad.device.commands.upload import Upload, upload_context
from edge_resad.device.control import Controls
from edge_resad.device.pictures.album import FRAME, HEAT
from edge_resad.device.settings import CommandsSection
from edge_resad.errors import ControlError, EdgeResadError
from edge_resad.messages import (
    THUMBNAIL_BYTES,
    Address,
    Arguments,
    Capture,
    DeployBundle,
    FetchedImage,
    FetchImage,
    ProductUse,
    Restart,
    SelfTest,
    SetConfig,
    SigningKey,
    Snapshot,
    Threshold,
    Trigger,
    upload_token,
)

SLOW = (FetchImage,)
"""Commands that may take minutes: they go to a thread of their own."""
GLANCE_S = 0.2  # between two looks at a capture
_SIDES = (960, 640, 480, 320, 160)  # pixels of a snapshot, the first at which it is small enough


class _Refused(ControlError):
    """Nothing was tried, for this station never does such a thing."""


class Orders:
    """Carries out one command after the other; may be asked from two threads."""

    def __init__(
        self,
        controls: Controls,
        tuning: Tuning,
        told: CommandsSection,
        address: Address,
        keys: Sequence[SigningKey],
        *,
        stop: threading.Event,
        config_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """keys: of this station. stop: ends what takes long. config_changed: told after a set-config."""
        self._controls = controls
        self._tuning = tuning
        self._told = told
        self._address = address
        self._keys = {key.key_id: key for key in keys}
        self._stop = stop
        self._config_changed = config_changed

    def carry_out(self, arguments: Arguments) -> Answer:
        """Do it; what became of it. Whatever goes wrong is an answer."""
        try:
            sentence, result = self._do(arguments)
        except _Refused as refused:
            return Answer(status="refused", sentence=str(refused))
        except EdgeResadError as error:
            return Answer(status="failed", sentence=str(error))
        return Answer(status="done", sentence=sentence, result=result)

    def await_capture(self, folder: str) -> Answer:
        """Wait until the frames of a capture are there; what became of it. It ends where the station does."""
        try:
            while not (progress := self._ask("capturing", folder=folder))["ended"]:
                if self._stop.wait(GLANCE_S):
                    self._ask("capture-stop")
                    return Answer(status="failed", sentence=f"The station ended: {self.captured(folder)}")
        except ControlError as error:
            return Answer(status="failed", sentence=str(error))
        result = {name: progress[name] for name in ("folder", "wanted", "written")}
        return Answer(
            status="done" if progress["problem"] is None else "failed", sentence=self.captured(folder), result=result
        )

    def captured(self, folder: str) -> str:
        """How many frames of a capture are there, in a sentence."""
        try:
            progress = self._ask("capturing", folder=folder)
        except ControlError as error:
            return str(error)
        sentence = f"{progress['written']} of {progress['wanted']} frames are in {progress['folder']}."
        return sentence if progress["problem"] is None else f"{sentence} {progress['problem']}"

    def _do(self, arguments: Arguments) -> tuple[str, Mapping[str, Any] | None]:
        match arguments:
            case ProductUse(product=product, product_version=version):
                found = self._ask("product", use=product if version is None else f"{product}@{version}")
                return f"{found['asked_for']} judges within a second.", found
            case Threshold(value=value, camera=camera):
                found = self._ask("threshold", set=value, camera=camera)
                self._config_changed()
                return f"The threshold is {value:g} from the next part on, until the station stops.", found
            case Snapshot(camera=camera):
                return "The last part as its camera saw it.", self._snapshot(camera)
            case Capture(count=count, camera=camera, label=label):
                found = self._ask("capture", n=count, camera=camera, label=label)
                return f"The next {count} frames go to {found['folder']}.", found
            case Trigger(camera=camera):
                found = self._ask("trigger", source="fleet", camera=camera)
                return f"Triggered: {', '.join(found['triggered'])}.", found
            case SelfTest():
                return "The engine computes what it should.", self._ask("self-test")
            case SetConfig(settings=settings):
                return self._set_config(settings)
            case FetchImage():
                return self._fetch(arguments)
            case DeployBundle():
                raise _Refused("this station cannot deploy bundles yet. Install the bundle on the device.")
            case Restart():  # answered before it is done: see Commands
                raise ControlError("a restart is not done here.")

    def _ask(self, name: str, **arguments: object) -> dict[str, Any]:
        answer = self._controls.answer(name, {key: value for key, value in arguments.items() if value is not None})
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return dict(answer["result"])

    def _snapshot(self, camera: str | None) -> dict[str, Any]:
        jpeg = base64.b64decode(self._ask("snapshot", camera=camera)["jpeg"])
        small = _small(jpeg)
        return {
            "content_type": "image/jpeg", "size_bytes": len(small), "sha256": hashlib.sha256(small).hexdigest(),
            "jpeg": base64.b64encode(small).decode("ascii"),
        }  # fmt: skip

    def _set_config(self, settings: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        wanted = {**self._tuning.held, **settings}
        wrong = self._tuning.refused(wanted)
        if wrong:
            raise ControlError("; ".join(f"{name}: {why}" for name, why in wrong.items()) + ". Nothing was changed.")
        self._tuning.put(wanted)
        self._config_changed()
        return "It holds until the station stops.", {"settings": self._tuning.current()}

    def _fetch(self, wanted: FetchImage) -> tuple[str, Mapping[str, Any]]:
        url = wanted.upload_url
        if not any(_is_below(url, allowed) for allowed in self._told.upload_to):
            allowed = ", ".join(self._told.upload_to) or "nowhere"
            raise ControlError(f"this station sends no pictures to {url}, but to {allowed}. Set [commands] upload_to.")
        token = None
        if wanted.token_id is not None:
            key = self._keys.get(wanted.token_id)
            if key is None:
                raise ControlError(
                    f"this station has no key {wanted.token_id}. It has: {', '.join(self._keys) or 'none'}."
                )
            token = upload_token(key, self._address, urlsplit(url).path)
        file = Path(str(self._ask("kept-picture", id=wanted.event)["file"]))
        if wanted.what != "frame":  # one file is both: the defects outlined, and the anomaly as heat
            file = file.with_name(file.name.removesuffix(FRAME) + HEAT)
        try:
            size = file.stat().st_size
        except OSError as gone:
            raise ControlError(f"there is no {wanted.what} of {wanted.event}: it was not kept, or went.") from gone
        if wanted.most_bytes is not None and size > wanted.most_bytes:
            raise ControlError(f"the picture has {size} bytes, more than the {wanted.most_bytes} that are wanted.")
        context = upload_context(self._told.upload_ca_file)
        upload = Upload(file, url, content_type="image/jpeg", token=token, context=context, stop=self._stop)
        sent = upload.run()
        result = FetchedImage(
            event=wanted.event,
            what=wanted.what,
            url=url,
            content_type="image/jpeg",
            size_bytes=sent.size_bytes,
            sha256=sent.sha256,
            resumed_from=sent.resumed_from,
        )
        return f"{sent.size_bytes} bytes are there.", json.loads(result.model_dump_json())


def _is_below(url: str, allowed: str) -> bool:
    """Whether a URL is of this server and below this path, as a browser would see it."""
    one, other = urlsplit(url), urlsplit(allowed)
    if one.username is not None or ".." in one.path or "%" in one.path:
        return False
    place = (one.hostname, one.port or 443) == (other.hostname, other.port or 443)
    return place and (one.path == other.path or one.path.startswith(other.path.rstrip("/") + "/"))


def _small(jpeg: bytes) -> bytes:
    """The picture in so few bytes that any broker takes it."""
    if len(jpeg) <= THUMBNAIL_BYTES:
        return jpeg
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ControlError("the last part's picture cannot be read. Ask again after the next part.")
    for side in _SIDES:
        scale = min(1.0, side / max(image.shape[:2]))
        shape = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        reduced = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        good, encoded = cv2.imencode(".jpg", reduced, [cv2.IMWRITE_JPEG_QUALITY, 80])
        if good and encoded.size <= THUMBNAIL_BYTES:
            return encoded.tobytes()
    raise ControlError("the last part's picture cannot be made small enough.")
