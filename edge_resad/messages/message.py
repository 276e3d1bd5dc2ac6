"""Any JSON message, as a reader meets it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter

from edge_resad.messages.acknowledgement import AcknowledgementMessage
from edge_resad.messages.alert import AlertMessage
from edge_resad.messages.audit import AuditMessage
from edge_resad.messages.collector import CollectorStateMessage
from edge_resad.messages.command import COMMANDS, Arguments, Command, CommandMessage, ReplyMessage, read_arguments
from edge_resad.messages.config import Desired, DesiredMessage, ReportedMessage
from edge_resad.messages.envelope import SCHEMA_VERSION
from edge_resad.messages.gap import GapMessage
from edge_resad.messages.signature import SignatureRefused, SigningKey, check_signature, outranks
from edge_resad.messages.state import StateMessage
from edge_resad.messages.strict import READING, parse
from edge_resad.messages.telemetry import TelemetryMessage
from edge_resad.messages.topic import Address, read_topic
from edge_resad.messages.verdict import VerdictMessage

Message: TypeAlias = (
    VerdictMessage
    | AlertMessage
    | StateMessage
    | GapMessage
    | AuditMessage
    | TelemetryMessage
    | ReportedMessage
    | ReplyMessage
    | AcknowledgementMessage
    | CollectorStateMessage
    | DesiredMessage
    | CommandMessage
)
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(payload: bytes) -> Message:
    """Read a JSON payload; ValueError says what is wrong with it."""
    raw = parse(payload)
    version = raw.get("schemaversion", 0) if isinstance(raw, dict) else 0
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ValueError(
            f"the message has schema {version}, this reader knows up to {SCHEMA_VERSION}: update the reader"
        )
    return _MESSAGE.validate_python(raw, context=READING)


def read_command(
    topic: str, payload: bytes, *, to: Address, keys: Iterable[SigningKey] | None
) -> tuple[Command, Arguments]:
    """A command for this station, checked; ValueError says what is wrong with it.

    A wrong or missing signature, and a role that does not suffice, are `SignatureRefused`. keys: of the roles, each the
    fleet's own or derived for this device; None asks for no signature.
    """
    command = read_message(payload).data
    if not isinstance(command, Command):
        raise ValueError(f"the message on {topic} is no command")
    _check_addressed(topic, to.command_topic(command.command), command, to)
    arguments = read_arguments(command)
    if keys is not None:
        role, needed = check_signature(payload, keys, to), COMMANDS[command.command][1]
        if not outranks(role, needed):
            raise SignatureRefused(f"{command.command} needs the key of the role {needed}, this is signed by {role}")
    return command, arguments


def read_desired(topic: str, payload: bytes, *, to: Address, keys: Iterable[SigningKey] | None) -> Desired:
    """A configuration for this station, checked as a command is; the role must be engineer or above."""
    desired = read_message(payload).data
    if not isinstance(desired, Desired):
        raise ValueError(f"the message on {topic} is no configuration")
    _check_addressed(topic, to.desired_topic, desired, to)
    if keys is not None and not outranks(role := check_signature(payload, keys, to), "engineer"):
        raise SignatureRefused(f"a configuration needs the key of the role engineer, this is signed by {role}")
    return desired


def _check_addressed(topic: str, expected: str, data: Command | Desired, to: Address) -> None:
    """A message that was written for another station, or is sent on by a bridge to a wrong topic, is refused."""
    meant = Address(site=data.site, line=data.line, device=data.device)
    if meant != to:
        raise ValueError(f"the message is for {meant.prefix}, this station is {to.prefix}")
    name = read_topic(topic).name
    if read_topic(topic).channel != read_topic(expected).channel or name != read_topic(expected).name:
        raise ValueError(f"the message came on {topic}, it belongs on {expected}")
