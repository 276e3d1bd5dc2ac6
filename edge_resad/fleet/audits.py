"""Audits: who asked what of which station, and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, exists, select

from edge_resad.fleet import schema

_CHUNK = 200  # rows that are fetched at a time


@dataclass(frozen=True)
class CommandAccount:
    """A command, or a configuration, and what became of it."""

    site: str
    line: str
    device: str
    command_id: str
    command: str
    arguments: dict[str, Any] | None  # None, as the next two: the station has not said who asked, only answered
    issued_by: str | None
    role: str | None  # whose key signed it; None also where it was not signed
    status: str
    sentence: str | None
    result: dict[str, Any] | None  # what the station answered, without what is long; None where no answer came by
    at_ms: int
    at_quality: str


def audits(
    connection: Connection, *, device: str | None = None, since_ms: int | None = None, most: int = 50
) -> list[CommandAccount]:
    """The newest commands, each once. since_ms: when it ended, in ms since 1970; None: however long ago."""
    found: dict[tuple[int, str], CommandAccount] = {}
    for asked in (_written_down(device, since_ms), _answered_alone(device, since_ms)):
        some: dict[tuple[int, str], CommandAccount] = {}
        with connection.execute(asked.execution_options(yield_per=_CHUNK)) as rows:
            for row in rows:
                some.setdefault((row.of, row.command_id), _account(row))
                if len(some) == most:
                    break
        found |= some
    return sorted(found.values(), key=lambda account: -account.at_ms)[:most]  # stable


def _written_down(device: str | None, since_ms: int | None) -> Select[Any]:
    """Audits with their replies; of one that was written down twice the later first."""
    table, reply = schema.command, schema.reply
    its = and_(
        reply.c.device == table.c.device, reply.c.command_id == table.c.command_id, reply.c.status == table.c.status
    )
    asked = (
        select(table, schema.device.c.site, schema.device.c.line, schema.device.c.name, schema.device.c.id.label("of"))
        .add_columns(reply.c.result)
        .join(schema.device, schema.device.c.id == table.c.device)
        .outerjoin(reply, its)
        .order_by(table.c.at_ms.desc(), table.c.stream.desc(), table.c.seq.desc())
    )
    if since_ms is not None:
        asked = asked.where(table.c.at_ms >= since_ms)
    return asked if device is None else asked.where(schema.device.c.name == device)


def _answered_alone(device: str | None, since_ms: int | None) -> Select[Any]:
    """Replies to what is in no audit: it goes on, its audit is on its way, or nobody known asked. The last first."""
    table, audit = schema.reply, schema.command
    written = exists().where(audit.c.device == table.c.device, audit.c.command_id == table.c.command_id)
    asked = (
        select(table, schema.device.c.site, schema.device.c.line, schema.device.c.name, schema.device.c.id.label("of"))
        .join(schema.device, schema.device.c.id == table.c.device)
        .where(~written)
        .order_by(table.c.received_ms.desc(), case((table.c.status == "accepted", 1), else_=0), table.c.command_id)
    )
    if since_ms is not None:
        asked = asked.where(table.c.received_ms >= since_ms)
    return asked if device is None else asked.where(schema.device.c.name == device)


def _account(row: Row[Any]) -> CommandAccount:
    said = row._mapping
    arguments = said.get("arguments")
    return CommandAccount(
        site=row.site,
        line=row.line,
        device=row.name,
        command_id=row.command_id,
        command=row.command,
        arguments=None if arguments is None else json.loads(arguments),
        issued_by=said.get("issued_by"),
        role=said.get("role"),
        status=row.status,
        sentence=row.sentence,
        result=None if row.result is None else json.loads(row.result),
        at_ms=said.get("at_ms", row.received_ms),
        at_quality=said.get("at_quality", "received"),
    )
