"""An alert's row: what all of its messages say together, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, case, or_

from edge_resad.fleet import schema
from edge_resad.fleet.inserting import insert_into

_SEVERITIES = {"minor": 1, "major": 2, "critical": 3}


def write_alerts(connection: Connection, messages: Iterable[Mapping[str, Any]]) -> None:
    """Add new rows of `alert_message`, in the order of their keys, to the alerts that they are of."""
    alerts: dict[tuple[int, str], dict[str, Any]] = {}
    for row in messages:  # ascending: of two of one alert the later comes later
        severity = _SEVERITIES[row["severity"]]
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
        now["received_ms"] = max(now["received_ms"], row["received_ms"])
        now["messages"] += 1
    if not alerts:
        return
    table = schema.alert
    statement = insert_into(connection, table)
    said, had = statement.excluded, table.c
    later = or_(
        said.last_stream > had.last_stream, (said.last_stream == had.last_stream) & (said.last_seq > had.last_seq)
    )
    earlier = or_(
        said.first_stream < had.first_stream,
        (said.first_stream == had.first_stream) & (said.first_seq < had.first_seq),
    )
    changes: dict[str, Any] = {
        name: case((later, said[name]), else_=had[name]) for name in ("last_stream", "last_seq", "severity")
    }
    changes |= {name: case((earlier, said[name]), else_=had[name]) for name in ("first_stream", "first_seq")}
    changes |= {name: case((said[name] > had[name], said[name]), else_=had[name]) for name in ("worst", "received_ms")}
    changes |= {"open": had.open & said.open, "messages": had.messages + said.messages}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["device", "alert_id"], set_=changes),
        [alerts[key] for key in sorted(alerts)],
    )
