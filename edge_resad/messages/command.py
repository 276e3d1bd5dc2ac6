"""A command to a station, and what the station answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, FiniteFloat, JsonValue, ValidationError

from edge_resad.messages.config import Settings
from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Moment, Written, place_fields, written_fields
from edge_resad.messages.signature import Role, Signature, SigningKey, signed
from edge_resad.messages.strict import Strict, Wall, Whole
from edge_resad.messages.topic import Address, Id, collector_source

CommandId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
"""Fit to stand in a topic, and short enough for the ids of its replies."""
Status = Literal["accepted", "done", "failed", "refused", "expired"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s]+$", max_length=2048)]


class ProductUse(Strict):
    """product-use: change over to a product."""

    product: Id
    product_version: Annotated[int, Field(ge=1)] | None = None  # None: the newest


class Threshold(Strict):
    """threshold: set the score from which a part fails."""

    value: Annotated[FiniteFloat, Field(gt=0)]
    camera: Id | None = None  # None: where there is one


class Snapshot(Strict):
    """snapshot: a small picture of what a camera sees now."""

    camera: Id | None = None


class Capture(Strict):
    """capture: keep the next pictures whole, as material for training."""

    count: Annotated[int, Field(ge=1, le=10_000)]
    camera: Id | None = None
    label: Id | None = None  # such as good


class Trigger(Strict):
    """trigger: a part is there now, where a station waits to be told."""

    camera: Id | None = None  # None: all that wait to be told


class Restart(Strict):
    """restart: end the station, so that it is started again."""


class SelfTest(Strict):
    """self-test: compute a known picture and compare."""


class SetConfig(Strict):
    """set-config: settings at once, apart from the retained configuration."""

    settings: Settings = Field(min_length=1)


class FetchImage(Strict):
    """fetch-image: send a kept picture to a server by HTTPS, going on where an earlier try ended."""

    event: Id  # the id of the message that it belongs to
    what: Literal["frame", "overlay", "heatmap"] = "frame"
    upload_url: HttpsUrl  # takes a PUT with Content-Range; what it has, it says by HEAD
    token_id: Id | None = None  # which of the station's tokens to show the server; the token itself never travels here
    most_bytes: Annotated[int, Field(ge=1)] | None = None  # a larger picture is refused


class FetchedImage(Strict):
    """The result of fetch-image."""

    event: Id
    what: Literal["frame", "overlay", "heatmap"]
    url: HttpsUrl
    content_type: str
    size_bytes: Whole
    sha256: Sha256
    resumed_from: Whole = 0  # bytes that an earlier try had sent


class DeployBundle(Strict):
    """deploy-bundle: fetch a bundle by HTTPS and change over to it."""

    url: HttpsUrl
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]
    bundle_id: str = Field(min_length=1, max_length=128)


Arguments: TypeAlias = (
    ProductUse | Threshold | Snapshot | Capture | Trigger | Restart | SelfTest | SetConfig | FetchImage | DeployBundle
)
COMMANDS: Mapping[str, tuple[type[Arguments], Role]] = {
    "product-use": (ProductUse, "operator"),
    "snapshot": (Snapshot, "operator"),
    "capture": (Capture, "operator"),
    "trigger": (Trigger, "operator"),
    "self-test": (SelfTest, "operator"),
    "fetch-image": (FetchImage, "operator"),
    "threshold": (Threshold, "engineer"),
    "restart": (Restart, "engineer"),
    "set-config": (SetConfig, "engineer"),
    "deploy-bundle": (DeployBundle, "admin"),
}
"""Name -> what it takes, and the least role that may give it."""


class Command(Strict):
    """A wish. It may come twice: a station does what one `command_id` asks for once, and answers each time."""

    command_id: CommandId  # the correlation
    command: Id  # one of `COMMANDS`, as in the topic
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    issued_by: str = Field(min_length=1, max_length=128)  # a person or a program
    issued_wall_s: Wall
    expires_s: Annotated[FiniteFloat, Field(gt=0, le=86_400)]  # after `issued_wall_s`
    site: Id
    line: Id
    device: Id
    signature: Signature | None = None

    def expired(self, wall: float) -> bool:
        """Whether it is too late to begin. wall: s since 1970; a station whose clock is not set cannot tell."""
        return wall >= self.issued_wall_s + self.expires_s


class CommandMessage(Envelope):
    """A command in its envelope."""

    type: Literal["edge-resad.command"] = "edge-resad.command"
    data: Command


class Reply(Written):
    """What became of a command; `accepted` is followed by another one, the others are the last."""

    command_id: CommandId
    command: Id
    status: Status
    sentence: str | None = None  # what a person should know: why not, or how it went
    result: dict[str, JsonValue] | None = None
    again: bool = False  # the command came once more; this is what was answered then


class ReplyMessage(Envelope):
    """A reply in its envelope."""

    type: Literal["edge-resad.reply"] = "edge-resad.reply"
    data: Reply


def command_message(
    address: Address,
    command: str,
    *,
    command_id: str,
    issued_by: str,
    wall: float,
    expires_s: float,
    host: str,
    arguments: Mapping[str, object] | None = None,
    key: SigningKey | None = None,
) -> bytes:
    """The payload for `address.command_topic(command)`; ValueError where the arguments are not its own.

    host: who sends it, as a collector is named. key: of the fleet or already of the device; None leaves it unsigned.
    """
    fields = envelope_fields(collector_source(host), command_id, wall)
    about = {"command_id": command_id, "command": command, "arguments": dict(arguments or {})}
    who = {"issued_by": issued_by, "issued_wall_s": wall, "expires_s": expires_s}
    data = Command.model_validate({**about, **who, **place_fields(address)})
    read_arguments(data)
    return signed(CommandMessage(**fields, data=data).payload(), key, address)


def read_arguments(command: Command) -> Arguments:
    """What a command takes. An argument that this reader does not know is refused: half a command is another one."""
    if command.command not in COMMANDS:
        raise ValueError(f"there is no command {command.command!r}: there are {', '.join(sorted(COMMANDS))}")
    model, _ = COMMANDS[command.command]
    try:
        return model.model_validate(command.arguments)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors(include_url=False)
        )
        known = ", ".join(model.model_fields) or "none"
        raise ValueError(f"{command.command} does not take these arguments ({wrong}): it takes {known}") from error


def reply_message(
    address: Address,
    at: Moment,
    *,
    command_id: str,
    command: str,
    status: Status,
    sentence: str | None = None,
    result: Mapping[str, object] | None = None,
    again: bool = False,
) -> bytes:
    """The payload for `address.reply_topic(command_id)`; said again it has the same id."""
    answer = {"command_id": command_id, "command": command, "status": status, "sentence": sentence, "again": again}
    found = None if result is None else dict(result)
    data = Reply.model_validate({**written_fields(address, at), **answer, "result": found})
    return ReplyMessage(**envelope_fields(address, f"{command_id}-{status}", at.wall), data=data).payload()
