"""A Sparkplug B payload: named values with their types, in Protocol Buffers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Any

from edge_resad.errors import SettingsError

Value = bool | int | float | str | None
"""What a metric may say; None: nothing now."""

REBIRTH = "Node Control/Rebirth"


class Kind(IntEnum):
    """The data types of Sparkplug B that a station needs, by their numbers there."""

    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12

    @property
    def field(self) -> str:
        """The field of a metric that holds its value."""
        return {4: "long_value", 10: "double_value", 11: "boolean_value", 12: "string_value"}[self]


def write_payload(
    metrics: Mapping[str, Value], kinds: Mapping[str, Kind], *, now: float, seq: int | None, is_birth: bool
) -> bytes:
    """The bytes of a message.

    kinds: of every metric there is, by its name.
    now: seconds since 1970.
    seq: the message's number, 0 to 255; None for a death, which has none.
    is_birth: whether the types go with the values; what follows a birth leaves them out.
    """
    payload = payload_class()()
    payload.timestamp = max(0, round(1000 * now))
    if seq is not None:
        payload.seq = seq
    for name, value in metrics.items():
        metric = payload.metrics.add()
        metric.name = name
        metric.timestamp = payload.timestamp
        if is_birth:
            metric.datatype = kinds[name]
        if value is None:
            metric.is_null = True
        else:
            setattr(metric, kinds[name].field, value)
    written: bytes = payload.SerializeToString()
    return written


def asks_for_rebirth(command: bytes) -> bool:
    """Whether the payload of a command asks the node to say everything again. Whatever else comes asks for nothing."""
    payload = payload_class()()
    from google.protobuf.message import DecodeError

    try:
        payload.ParseFromString(command)
        return any(metric.name == REBIRTH and metric.boolean_value for metric in payload.metrics)
    except (DecodeError, ValueError):  # ValueError: a name that is no UTF-8
        return False


@cache
def payload_class() -> Any:
    """The class of messages that protobuf reads and writes, made from the fields that a station needs.

    Others may be in what is read and are passed over. No code is generated: what one version of protobuf generates,
    the version after the next refuses.

    Raises:
        SettingsError: protobuf is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as missing:
        raise SettingsError(
            "the station file has a section [sparkplug], and protobuf is not installed. "
            "Run: pip install 'edge-resad[sparkplug]'"
        ) from missing
    of = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="edge_resad/sparkplug.proto", package="edge_resad", syntax="proto2")
    metric = file.message_type.add(name="Metric")
    for name, number, kind in (
        ("name", 1, of.TYPE_STRING),
        ("timestamp", 3, of.TYPE_UINT64),  # milliseconds since 1970
        ("datatype", 4, of.TYPE_UINT32),
        ("is_null", 7, of.TYPE_BOOL),
    ):
        metric.field.add(name=name, number=number, type=kind, label=of.LABEL_OPTIONAL)
    metric.oneof_decl.add(name="value")
    for name, number, kind in (
        ("int_value", 10, of.TYPE_UINT32),
        ("long_value", 11, of.TYPE_UINT64),
        ("float_value", 12, of.TYPE_FLOAT),
        ("double_value", 13, of.TYPE_DOUBLE),
        ("boolean_value", 14, of.TYPE_BOOL),
        ("string_value", 15, of.TYPE_STRING),
    ):
        metric.field.add(name=name, number=number, type=kind, label=of.LABEL_OPTIONAL, oneof_index=0)
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=of.TYPE_UINT64, label=of.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics", number=2, type=of.TYPE_MESSAGE, type_name=".edge_resad.Metric", label=of.LABEL_REPEATED
    )
    payload.field.add(name="seq", number=3, type=of.TYPE_UINT64, label=of.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()  # of our own: another library may have the specification's own names
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("edge_resad.Payload"))
