"""Succession: in which order a station's streams follow one another, where one took the place of another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from edge_resad.fleet import schema


def succession(connection: Connection, device: int) -> dict[int, int]:
    """Stream -> its place among those of a station. Of streams that do not replace each other the one that was heard
    first comes first.
    """
    table = schema.stream
    asked = select(table.c.id, table.c.stream_id, table.c.replaced_by).where(table.c.device == device)
    rows = connection.execute(asked.order_by(table.c.id)).all()
    before: dict[str, list[int]] = {}
    for row in rows:
        if row.replaced_by is not None:
            before.setdefault(row.replaced_by, []).append(row.id)
    names = {row.id: row.stream_id for row in rows}
    places: dict[int, int] = {}
    for row in rows:
        waiting, begun = [row.id], set()  # no recursion: a station may name as many streams as it likes
        while waiting:
            stream = waiting[-1]
            earlier = [] if stream in begun else [one for one in before.get(names[stream], ()) if one not in places]
            if stream in begun or not earlier:
                places.setdefault(waiting.pop(), len(places))
            else:
                waiting += [one for one in earlier if one not in begun]
            begun.add(stream)
    return places


def rejoin(connection: Connection, alerts: Iterable[tuple[int, str]]) -> None:
    """Say anew which message of an alert, by station and alert_id, is its first and which its last."""
    said, table = schema.alert_message, schema.alert
    orders: dict[int, dict[int, int]] = {}
    rows = []
    for device, alert_id in alerts:
        if device not in orders:
            orders[device] = succession(connection, device)
        order = orders[device]
        asked = select(said.c.stream, said.c.seq, said.c.severity)
        its = connection.execute(asked.where(said.c.device == device, said.c.alert_id == alert_id)).all()
        its = sorted(its, key=lambda message: (order.get(message.stream, message.stream), message.seq))
        if its:
            first, last = its[0], its[-1]
            rows.append(
                {
                    **{"of": device, "its_id": alert_id, "now": schema.SEVERITIES[last.severity]},
                    **{"its_first_stream": first.stream, "its_first_seq": first.seq},
                    **{"its_last_stream": last.stream, "its_last_seq": last.seq},
                }
            )
    if rows:
        changed = update(table).where(table.c.device == bindparam("of"), table.c.alert_id == bindparam("its_id"))
        names = ("first_stream", "first_seq", "last_stream", "last_seq")
        ends: dict[str, Any] = {name: bindparam(f"its_{name}") for name in names}
        connection.execute(changed.values(severity=bindparam("now"), **ends), rows)
