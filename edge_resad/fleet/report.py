"""What the store says: stations and how they do, alerts by rank, and the proof that nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.coverage import Ranges, count, missing_ranges, stored_ranges, without

SEVERITIES = {number: name for name, number in schema.SEVERITIES.items()}


@dataclass(frozen=True)
class StreamAccount:
    """What became of the messages of one stream."""

    device: str
    stream_id: str
    generated: int  # as far as anybody knows: the largest `seq` that came or that the station spoke of
    stored: int
    duplicates: int  # came again and were absorbed
    given_up: int  # did not come, and the station said that they never will
    missing: Ranges
    conflicts: int  # others than what is stored under their numbers: they are in `rejected`
    damaged: bool  # the station set this outbox aside as damaged: what is missing will not come

    @property
    def lost(self) -> int:
        """Messages that are neither stored nor given up."""
        return count(self.missing)


@dataclass(frozen=True)
class DeviceStatus:
    """A station and how it does."""

    site: str
    line: str
    device: str
    online: bool | None  # None: it has not said
    seen_ms: int
    waiting: int | None  # messages in its outbox when it said so last
    dropped: int | None
    dead: int | None  # messages that its broker will never take
    product: str | None
    version: str | None
    faults: dict[str, list[str]]
    missing: int  # messages of its streams that are neither stored nor given up
    conflicts: int  # messages whose numbers were others' already
    set_aside: int  # messages that cannot be read, or whose numbers were others', and are kept
    set_aside_dropped: int  # such messages for which there was no room any more
    open_alerts: int
    settings_version: int | None  # of the wish that it answered last; None: it has answered none
    settings_status: str | None  # applied or refused


@dataclass(frozen=True)
class AlertStatus:
    """An alert as its last message says, with the score, the threshold and the fault of its worst."""

    alert_id: str
    site: str
    line: str
    device: str
    camera: str
    product: str
    severity: str
    worst: str
    open: bool
    began_ms: int
    began_quality: str
    last_ms: int
    messages: int
    score: float | None
    threshold: float | None
    fault: str | None
    reason: str | None  # why it ended, where it is not known to be over: interrupted
    picture: bool  # there is one in the store


def accounts(connection: Connection, *, device: str | None = None) -> list[StreamAccount]:
    """Every stream, by the name of its station."""
    table, devices = schema.stream, schema.device
    asked = select(devices.c.name, table).join(devices, devices.c.id == table.c.device)
    if device is not None:
        asked = asked.where(devices.c.name == device)
    found = []
    for row in connection.execute(asked.order_by(devices.c.name, table.c.id)).all():
        generated = max(row.max_seq, row.announced_seq)
        stored, missing = stored_ranges(connection, row.id), missing_ranges(connection, row.id, generated)
        found.append(
            StreamAccount(
                device=row.name,
                stream_id=row.stream_id,
                generated=generated,
                stored=count(stored),
                duplicates=row.duplicates,
                given_up=count(without(generated, stored)) - count(missing),
                missing=missing,
                conflicts=row.conflicts,
                damaged=row.replaced_by is not None,
            )
        )
    return found


def devices(connection: Connection) -> list[DeviceStatus]:
    """Every station: those that are away first, then by place and name."""
    table, alert = schema.device, schema.alert
    asked = select(alert.c.device, func.count()).where(alert.c.open).group_by(alert.c.device)
    open_alerts = {row[0]: row[1] for row in connection.execute(asked)}
    missing: Counter[str] = Counter()
    conflicts: Counter[str] = Counter()
    for account in accounts(connection):
        missing[account.device] += account.lost
        conflicts[account.device] += account.conflicts
    reported = _newest_reports(connection)
    aside, gone = schema.rejected, schema.dropped
    kept = select(aside.c.device, func.count()).where(aside.c.device.is_not(None)).group_by(aside.c.device)
    set_aside = {row[0]: row[1] for row in connection.execute(kept)}
    dropped = {row.device: row.messages for row in connection.execute(select(gone))}
    rows = connection.execute(select(table).order_by(table.c.site, table.c.line, table.c.name)).all()
    found = [
        DeviceStatus(
            site=row.site,
            line=row.line,
            device=row.name,
            online=row.online,
            seen_ms=row.seen_ms,
            waiting=row.waiting,
            dropped=row.dropped,
            dead=row.dead,
            product=row.product,
            version=row.version,
            faults={camera: list(said) for camera, said in json.loads(row.faults or "{}").items()},
            missing=missing[row.name],
            conflicts=conflicts[row.name],
            set_aside=set_aside.get(row.id, 0),
            set_aside_dropped=dropped.get(row.id, 0),
            open_alerts=open_alerts.get(row.id, 0),
            settings_version=reported.get(row.id, (None, None))[0],
            settings_status=reported.get(row.id, (None, None))[1],
        )
        for row in rows
    ]
    return sorted(found, key=lambda status: status.online is not False)


def _newest_reports(connection: Connection) -> dict[int, tuple[int | None, str | None]]:
    """Device -> version and status of the settings that it reported last."""
    table = schema.reported
    newest = select(table.c.device, func.max(table.c.received_ms).label("ms")).group_by(table.c.device).subquery()
    asked = (
        select(table.c.device, table.c.version, table.c.status)
        .join(newest, (newest.c.device == table.c.device) & (newest.c.ms == table.c.received_ms))
        .order_by(case((table.c.version.is_(None), 0), else_=1), table.c.version)  # of two at once the later stays
    )
    return {row.device: (row.version, row.status) for row in connection.execute(asked)}


def alerts(connection: Connection, *, most: int = 50, only_open: bool = False) -> list[AlertStatus]:
    """Alerts by rank: open ones first, then the worse, then the newer."""
    table, devices, message, picture = schema.alert, schema.device, schema.alert_message, schema.thumbnail
    first, last = message.alias("first"), message.alias("last")
    pictures = select(func.count()).select_from(picture).where(picture.c.event == first.c.image_event).scalar_subquery()
    asked = (
        select(table, devices.c.site, devices.c.line, devices.c.name, pictures.label("pictures"))
        .add_columns(first.c.at_ms.label("began_ms"), first.c.at_quality, last.c.at_ms.label("last_ms"))
        .add_columns(last.c.camera, last.c.product, last.c.reason)
        .join(devices, devices.c.id == table.c.device)
        .join(first, (first.c.stream == table.c.first_stream) & (first.c.seq == table.c.first_seq))
        .join(last, (last.c.stream == table.c.last_stream) & (last.c.seq == table.c.last_seq))
        .order_by(case((table.c.open, 0), else_=1), table.c.severity.desc(), last.c.at_ms.desc(), table.c.alert_id)
        .limit(most)
    )
    if only_open:
        asked = asked.where(table.c.open)
    rows = connection.execute(asked).all()
    worst = {(row.device, row.alert_id): _worst_message(connection, row.device, row.alert_id) for row in rows}
    return [
        AlertStatus(
            alert_id=row.alert_id,
            site=row.site,
            line=row.line,
            device=row.name,
            camera=row.camera,
            product=row.product,
            severity=SEVERITIES[row.severity],
            worst=SEVERITIES[row.worst],
            open=row.open,
            began_ms=row.began_ms,
            began_quality=row.at_quality,
            last_ms=row.last_ms,
            messages=row.messages,
            score=worst[row.device, row.alert_id][0],
            threshold=worst[row.device, row.alert_id][1],
            fault=worst[row.device, row.alert_id][2],
            reason=row.reason,
            picture=row.pictures > 0,
        )
        for row in rows
    ]


def _worst_message(connection: Connection, device: int, alert_id: str) -> tuple[float | None, float | None, str | None]:
    """Score, threshold and fault of the most severe, of these of the one furthest beyond its threshold: an `end` comes
    with a part that passed.
    """
    table = schema.alert_message
    severity = case(schema.SEVERITIES, value=table.c.severity, else_=0)
    excess = func.coalesce(table.c.score / func.nullif(table.c.threshold, 0), -1)
    asked = select(table.c.score, table.c.threshold, table.c.fault)
    asked = asked.where(table.c.device == device, table.c.alert_id == alert_id)
    worst_first = (
        severity.desc(),
        excess.desc(),
        case((table.c.phase == "end", 1), else_=0),
        table.c.stream,
        table.c.seq,
    )
    return connection.execute(asked.order_by(*worst_first).limit(1)).one()


@dataclass(frozen=True)
class GivenUp:
    """What a station gave up, as one of its messages says."""

    device: str
    stream_id: str  # of which it speaks
    at_ms: int
    reason: str
    counts: dict[str, int]  # kind -> how many


def given_up(connection: Connection, *, device: str | None = None) -> list[GivenUp]:
    """Every loss that stations told, the newest first."""
    table, streams, devices = schema.gap, schema.stream, schema.device
    asked = (
        select(devices.c.name, streams.c.stream_id, table.c.at_ms, table.c.reason, table.c.counts)
        .join(streams, streams.c.id == table.c.of_stream)
        .join(devices, devices.c.id == streams.c.device)
        .order_by(table.c.at_ms.desc(), table.c.stream, table.c.seq.desc())
    )
    if device is not None:
        asked = asked.where(devices.c.name == device)
    return [
        GivenUp(
            device=row.name, stream_id=row.stream_id, at_ms=row.at_ms, reason=row.reason, counts=json.loads(row.counts)
        )
        for row in connection.execute(asked)
    ]


def rejected(connection: Connection, *, most: int = 10) -> list[tuple[str, int]]:
    """Why messages could not be read, and how often each reason; the most frequent first."""
    table = schema.rejected
    times = func.sum(table.c.times)
    asked = (
        select(table.c.reason, times)
        .where(~table.c.conflict)
        .group_by(table.c.reason)
        .order_by(times.desc())
        .limit(most)
    )
    return [(reason, int(number)) for reason, number in connection.execute(asked)]


def dropped(connection: Connection) -> int:
    """How many messages that were set aside went for want of room, of all stations and of nobody known."""
    table = schema.dropped
    return int(connection.execute(select(func.coalesce(func.sum(table.c.messages), 0))).scalar_one())
