"""Which messages of a stream the fleet has, and which are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, union_all

from edge_resad.fleet import schema
from edge_resad.fleet.keys import keys_table, not_beyond

_MOST_LOOKS = 20  # more holes than that are looked at in one go
Ranges: TypeAlias = list[tuple[int, int]]
"""Inclusive, ascending, neither overlapping nor adjacent."""


def stored_ranges(connection: Connection, stream: int) -> Ranges:
    """What was stored of a stream; what retention removed since is among it."""
    table = schema.settled
    asked = select(table.c.first_seq, table.c.last_seq).where(table.c.stream == stream)
    settled = merged([tuple(row) for row in connection.execute(asked)])
    found = list(settled)
    for first, last in _between(settled):  # what is settled need not be looked at, however much it is
        found += _islands(connection, stream, first, last)
    return merged(found)


def _between(settled: Ranges) -> list[tuple[int, int | None]]:
    """Where a stream may have more than is settled; the last of them has no end."""
    begins = [1, *(last + 1 for _, last in settled)]
    ends: list[int | None] = [*(first - 1 for first, _ in settled), None]
    holes = [(first, last) for first, last in zip(begins, ends, strict=True) if last is None or first <= last]
    return holes if len(holes) <= _MOST_LOOKS else [(holes[0][0], None)]


def settle(connection: Connection, stream: int, first: int, last: int) -> None:
    """Remember what is stored between two numbers of a stream, before retention removes rows of it."""
    table = schema.settled
    touching = (
        (table.c.stream == stream) & (table.c.last_seq >= first - 1) & (table.c.first_seq <= last + 1)
    )  # neighbours too: they become one
    before = [tuple(row) for row in connection.execute(select(table.c.first_seq, table.c.last_seq).where(touching))]
    ranges = merged([*_islands(connection, stream, first, last), *before])
    connection.execute(delete(table).where(touching))
    if ranges:
        rows = [{"stream": stream, "first_seq": low, "last_seq": high} for low, high in ranges]
        connection.execute(insert(table), rows)


def settle_some(connection: Connection, most: int) -> int:
    """Settle up to `most` numbers of the stream that is furthest behind, so that nobody looks at its rows again.

    Answers how many; 0 where no stream is so far behind.
    """
    table, streams = schema.settled, schema.stream
    known = select(func.coalesce(func.max(table.c.last_seq), 0)).where(table.c.stream == streams.c.id).scalar_subquery()
    behind = streams.c.max_seq - known
    has_more = or_(
        *(
            exists().where(letters.c.stream == streams.c.id, letters.c.seq > known)
            for letters in (*schema.LETTERS, schema.rejected)
        )
    )
    asked = select(streams.c.id, known).where(behind >= most, has_more).order_by(behind.desc()).limit(1)
    row = connection.execute(asked).first()
    if row is None:
        return 0
    stream, last = row
    nexts = [
        select(func.min(letters.c.seq)).where(letters.c.stream == stream, letters.c.seq > last)
        for letters in (*schema.LETTERS, schema.rejected)
    ]
    there = [seq for asked in nexts for seq in connection.execute(asked).scalars() if seq is not None]
    if not there:
        return 0
    settle(connection, stream, min(there), min(there) + most - 1)
    return most


def unsettle(connection: Connection, letters: Collection[tuple[int, int]]) -> None:
    """Forget of these letters, by stream and seq, that they are stored, where no table has them.

    They were set aside, nobody could read them, and they go: from now on they are missing.
    """
    table = schema.settled
    for stream in sorted({stream for stream, _ in letters}):
        seqs = {seq for of, seq in letters if of == stream}
        for letters_table in schema.LETTERS:
            there = select(letters_table.c.seq).where(letters_table.c.stream == stream, letters_table.c.seq.in_(seqs))
            seqs -= set(connection.execute(there).scalars())
        touching = (table.c.stream == stream) & (table.c.last_seq >= min(seqs, default=0))
        touching &= table.c.first_seq <= max(seqs, default=-1)
        asked = select(table.c.first_seq, table.c.last_seq).where(touching)
        before = [tuple(row) for row in connection.execute(asked)]
        after = [piece for first, last in before for piece in _cut(first, last, seqs)]
        if before != after:
            connection.execute(delete(table).where(touching))
            rows = [{"stream": stream, "first_seq": first, "last_seq": last} for first, last in after]
            if rows:
                connection.execute(insert(table), rows)


def _cut(first: int, last: int, seqs: Collection[int]) -> Ranges:
    """A range without these numbers."""
    pieces: Ranges = []
    for seq in sorted(seq for seq in seqs if first <= seq <= last):
        if first < seq:
            pieces.append((first, seq - 1))
        first = seq + 1
    return [*pieces, (first, last)] if first <= last else pieces


def removed_before(connection: Connection, letters: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of these letters, by stream and seq, that were stored before and that retention has removed since.

    letters: which were in no table but `rejected` until now.
    """
    known = sorted(not_beyond(connection, letters))
    if not known:
        return set()
    these, stream, seq = keys_table(connection, known)
    table = schema.settled
    nearest = select(table.c.last_seq).where(table.c.stream == stream, table.c.first_seq <= seq)
    last = nearest.order_by(table.c.first_seq.desc()).limit(1).correlate(these).scalar_subquery()
    settled = select(stream, seq).select_from(these).where(last >= seq)
    found = {(row[0], row[1]) for row in connection.execute(settled)}
    if not found:
        return set()
    table = schema.rejected
    aside = select(table.c.stream, table.c.seq).where(table.c.stream.in_({stream for stream, _ in found}))
    aside = aside.where(table.c.seq.in_({seq for _, seq in found}), ~table.c.conflict)
    return found - {(stream, seq) for stream, seq in connection.execute(aside)}


def given_up_ranges(connection: Connection, stream: int) -> Ranges:
    """What the station said that it gave up."""
    table = schema.gap_range
    asked = select(table.c.first_seq, table.c.last_seq).where(table.c.of_stream == stream)
    return merged([tuple(row) for row in connection.execute(asked)])


def missing_ranges(connection: Connection, stream: int, generated: int) -> Ranges:
    """What is neither stored nor given up, of the first `generated` messages of a stream."""
    there = merged([*stored_ranges(connection, stream), *given_up_ranges(connection, stream)])
    return without(generated, there)


def merged(ranges: Iterable[tuple[int, ...]]) -> Ranges:
    """The fewest ranges that hold the same numbers."""
    result: Ranges = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def without(most: int, there: Sequence[tuple[int, int]]) -> Ranges:
    """1 to `most` without what is there."""
    result: Ranges = []
    begin = 1
    for first, last in there:
        if begin <= min(first - 1, most):
            result.append((begin, min(first - 1, most)))
        begin = max(begin, last + 1)
    if begin <= most:
        result.append((begin, most))
    return result


def count(ranges: Iterable[tuple[int, int]]) -> int:
    """How many numbers there are in them."""
    return sum(last - first + 1 for first, last in ranges)


def _islands(connection: Connection, stream: int, first: int, last: int | None) -> Ranges:
    """Runs of consecutive numbers in the tables; the database finds them, for a stream may have millions."""
    parts = []
    for table in (*schema.LETTERS, schema.rejected):
        part = select(table.c.seq).where(table.c.stream == stream, table.c.seq >= first)
        parts.append(part if last is None else part.where(table.c.seq <= last))
    letters = union_all(*parts).subquery()
    numbered = select(letters.c.seq, (letters.c.seq - func.dense_rank().over(order_by=letters.c.seq)).label("run"))
    runs = numbered.subquery()
    asked = select(func.min(runs.c.seq), func.max(runs.c.seq)).group_by(runs.c.run)
    return merged([tuple(row) for row in connection.execute(asked)])
