"""An alert's row: what all of its messages say together, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, case, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.clock import EARLIEST_MS
from edge_resad.fleet.inserting import insert_into
from edge_resad.fleet.succession import rejoin


def write_alerts(connection: Connection, messages: Iterable[Mapping[str, Any]]) -> None:
    """Add new rows of `alert_message`, in the order of their keys, to the alerts that they are of."""
    alerts: dict[tuple[int, str], dict[str, Any]] = {}
    for row in messages:  # ascending: of two of one alert the later comes later
        severity = schema.SEVERITIES[row["severity"]]
        key = (row["device"], row["alert_id"])
        now = alerts.setdefault(
            key,
            {
                **{"device": row["device"], "alert_id": row["alert_id"], "worst": severity, "open": True},
                **{"first_stream": row["stream"], "first_seq": row["seq"], "received_ms": row["received_ms"]},
                "messages": 0,
            },
        )
        now |= {"last_stream": row["stream"], "last_seq": row["seq"], "severity": severity}
        now["worst"] = max(now["worst"], severity)
        now["open"] = now["open"] and row["phase"] != "end"
        now["received_ms"] = _later_receipt(now["received_ms"], row["received_ms"])
        now["messages"] += 1
    if not alerts:
        return
    table = schema.alert
    statement = insert_into(connection, table)
    said, had = statement.excluded, table.c
    # Which of two streams is the later one cannot be seen here: such alerts are looked at as a whole below.
    later = (said.last_stream == had.last_stream) & (said.last_seq > had.last_seq)
    earlier = (said.first_stream == had.first_stream) & (said.first_seq < had.first_seq)
    changes: dict[str, Any] = {
        name: case((later, said[name]), else_=had[name]) for name in ("last_stream", "last_seq", "severity")
    }
    changes |= {name: case((earlier, said[name]), else_=had[name]) for name in ("first_stream", "first_seq")}
    changes["worst"] = case((said.worst > had.worst, said.worst), else_=had.worst)
    undated = had.received_ms < EARLIEST_MS
    newer = (said.received_ms < EARLIEST_MS) | (said.received_ms > had.received_ms)
    changes["received_ms"] = case((~undated & newer, said.received_ms), else_=had.received_ms)
    changes |= {"open": had.open & said.open, "messages": had.messages + said.messages}
    statement = statement.on_conflict_do_update(index_elements=["device", "alert_id"], set_=changes)
    known = connection.execute(
        statement.returning(had.device, had.alert_id, had.first_stream, had.last_stream),
        [alerts[key] for key in sorted(alerts)],
    )
    of_several = []
    for device, alert_id, *streams in known:
        now = alerts[device, alert_id]
        if {now["first_stream"], now["last_stream"]} != {*streams} or len({*streams}) > 1:
            of_several.append((device, alert_id))
    rejoin(connection, of_several)


def _later_receipt(one_ms: int, other_ms: int) -> int:
    """One that has no date yet is the later one: an alert with such a message must not go by its age."""
    return min(one_ms, other_ms) if min(one_ms, other_ms) < EARLIEST_MS else max(one_ms, other_ms)


def rejoin_alerts(connection: Connection, devices: Iterable[int]) -> None:
    """Join the alerts of these stations anew that have messages in several streams: one took another's place."""
    table = schema.alert_message
    for device in sorted(set(devices)):
        asked = select(table.c.alert_id).where(table.c.device == device).group_by(table.c.alert_id)
        several = connection.execute(asked.having(func.min(table.c.stream) != func.max(table.c.stream))).scalars()
        rejoin(connection, [(device, alert_id) for alert_id in several])
