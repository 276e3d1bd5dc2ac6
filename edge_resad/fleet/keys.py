"""Keys of messages, stream and number, as a table that a query can join: each is then looked up by an index."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Integer, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql

from edge_resad.fleet import schema


def keys_table(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> tuple[FromClause, ColumnElement[Any], ColumnElement[Any]]:
    """The table, its column of streams and that of numbers. `(stream, seq) IN (...)` would look at whole tables."""
    if connection.dialect.name == "postgresql":
        arrays = [
            cast(bindparam(f"all_{name}", [key[at] for key in keys]), postgresql.ARRAY(kind))
            for at, (name, kind) in enumerate((("stream", Integer), ("seq", BigInteger)))
        ]
        these: Any = func.unnest(*arrays).table_valued("stream", "seq").render_derived(name="these")
        return these, these.c.stream, these.c.seq
    listed = func.json_each(json.dumps(keys)).table_valued("value", name="these")
    return listed, func.json_extract(listed.c.value, "$[0]"), func.json_extract(listed.c.value, "$[1]")


def not_beyond(connection: Connection, keys: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those whose number is not beyond all that came of their stream before this batch; mostly none."""
    if not keys:
        return set()
    streams = schema.stream.c
    asked = select(streams.id, streams.max_seq).where(streams.id.in_({stream for stream, _ in keys}))
    before = {row.id: row.max_seq for row in connection.execute(asked)}
    return {key for key in keys if key[1] <= before[key[0]]}
