"""Conflicts: another message under a number that is taken already, as a copied or restored outbox writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from edge_resad.fleet import schema
from edge_resad.fleet.keys import keys_table, not_beyond

_FACTS = {
    schema.verdict.name: ("camera", "status", "frame_id"),
    schema.alert_message.name: ("alert_id", "phase", "severity"),
    schema.thumbnail.name: ("event",),
    schema.gap.name: ("reason", "counts"),
    schema.command.name: ("command_id", "status"),
}
_WHEN = ("boot", "wall_ms", "mono_ms")

Key = tuple[int, int]
"""stream and seq."""
Facts = tuple[Any, ...]
"""What tells a message from another: its table, then what it says. What comes again has the same, for an outbox keeps
it byte by byte.
"""


def sentence(device: str, stream_id: str, number: int) -> str:
    """What to do about conflicts, for who looks after the station."""
    return (
        f"{device}: {number} messages of the stream {stream_id} have numbers under which the store has others, and "
        "were set aside in `rejected`. Its outbox was copied, or put back from a copy: give each station its own "
        "[station] device, and move the file at [spool] path of the copy away, so that it begins a new stream."
    )


def facts(table: Table, row: Mapping[str, Any]) -> Facts:
    """Those of a message, whether its row is stored or shall be."""
    return (table.name, *(row[name] for name in (*_WHEN, *_FACTS[table.name])))


def conflicting(
    connection: Connection,
    facts_of: Mapping[Key, Facts],
    new: Mapping[str, set[Key]],
    digests: Callable[[], dict[Key, str]],
) -> set[Key]:
    """Numbers of a batch under which another message was stored before it.

    new: table -> those that the batch put there just now. digests: of the messages, as `rejected` knows them.
    """
    if not facts_of:
        return set()
    # A number beyond all that came cannot be another message's, so that mostly there is nothing to look up.
    known = not_beyond(connection, set[Key]().union(*new.values()))
    within = {name: keys & known for name, keys in new.items() if keys}
    found: set[Key] = set()
    for table in schema.LETTERS:
        again = {key for key, facts in facts_of.items() if facts[0] == table.name} - new[table.name]
        found |= {key for key, facts in _stored_facts(connection, table, again).items() if facts != facts_of[key]}
        elsewhere: set[Key] = set().union(*(keys for name, keys in within.items() if name != table.name))
        found |= _taken(connection, table, elsewhere)
    set_aside = _set_aside(connection, set().union(*within.values()))
    if set_aside:
        mine = digests()
        found |= {key for key, those in set_aside.items() if mine[key] not in those}
    return found


def _stored_facts(connection: Connection, table: Table, keys: Iterable[Key]) -> dict[Key, Facts]:
    """The messages of a table under these numbers."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    asked = _these(connection, table, ("stream", "seq", *_WHEN, *_FACTS[table.name]), wanted)
    return {(row.stream, row.seq): facts(table, row._asdict()) for row in connection.execute(asked)}


def _taken(connection: Connection, table: Table, keys: Iterable[Key]) -> set[Key]:
    """The numbers of these under which a table has something."""
    wanted = sorted(keys)
    if not wanted:
        return set()
    return {(stream, seq) for stream, seq in connection.execute(_these(connection, table, ("stream", "seq"), wanted))}


def _set_aside(connection: Connection, keys: Iterable[Key]) -> dict[Key, set[str]]:
    """The digests of what is in `rejected` under these numbers, and could not be read when it came."""
    wanted = sorted(keys)
    found: dict[Key, set[str]] = {}
    if wanted:
        table = schema.rejected
        asked = _these(connection, table, ("stream", "seq", "digest"), wanted).where(~table.c.conflict)
        for row in connection.execute(asked):
            found.setdefault((row.stream, row.seq), set()).add(row.digest)
    return found


def _these(connection: Connection, table: Table, names: tuple[str, ...], keys: list[Key]) -> Select[Any]:
    """Rows of a table by their numbers."""
    asked = select(*(table.c[name] for name in names))
    these, stream, seq = keys_table(connection, keys)
    return asked.join_from(these, table, (table.c.stream == stream) & (table.c.seq == seq))
