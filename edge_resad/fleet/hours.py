"""Counts per hour: parts of each station and product, exact whatever comes twice or is dated anew."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from edge_resad.fleet import schema
from edge_resad.fleet.inserting import insert_into

_LARGEST_RATIO = 1000.0  # one absurd part must not spoil an hour's mean


def add_to_hours(connection: Connection, verdicts: Iterable[Mapping[str, Any]], sign: int = 1) -> None:
    """Count these rows of `verdict` in their hours; with sign -1, take them out again."""
    hours: dict[tuple[int, int, str], Counter[str]] = {}
    sums: dict[tuple[int, int, str], float] = {}
    for row in verdicts:
        key = (row["at_ms"] // 3_600_000 * 3_600_000, row["device"], row["product"])
        counts = hours.setdefault(key, Counter())
        counts["parts"] += sign
        counts[{"pass": "passed", "fail": "failed"}.get(row["status"], "not_inspected")] += sign
        if row["score"] is not None and row["threshold"]:
            ratio = min(row["score"] / row["threshold"], _LARGEST_RATIO)
            counts[schema.RATIO_BINS[bisect_right(schema.RATIO_EDGES, ratio)]] += sign
            sums[key] = sums.get(key, 0.0) + sign * ratio
    if not hours:
        return
    table = schema.hour
    names = ("parts", "passed", "failed", "not_inspected", *schema.RATIO_BINS)
    rows = [
        {
            **{"hour_ms": key[0], "device": key[1], "product": key[2], "ratio_sum": sums.get(key, 0.0)},
            **{name: hours[key][name] for name in names},
        }
        for key in sorted(hours)
    ]
    statement = insert_into(connection, table)
    more = {name: table.c[name] + statement.excluded[name] for name in (*names, "ratio_sum")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["hour_ms", "device", "product"], set_=more), rows
    )
