"""The fleet's store: what stations said, each message once however often it came, in one transaction a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, bindparam, case, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError

from edge_resad.fleet import schema
from edge_resad.fleet.coverage import merged
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.database import cause
from edge_resad.fleet.letter_rows import LetterRows
from edge_resad.fleet.news_rows import NewsRows
from edge_resad.fleet.reading import Letter, News, Reading, Unreadable, origin_of, refuse
from edge_resad.fleet.rejected_rows import SetAside, write_rejected
from edge_resad.fleet.speakers import Speakers
from edge_resad.messages import Address

_NO_VALUE = "23502"  # PostgreSQL: nothing where something must be


class StoreAway(Exception):
    """The store takes nothing now. Nothing was stored: try the same again."""


@dataclass
class Receipt:
    """What became of a batch, once it is committed."""

    acknowledged: dict[tuple[Address, str], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Station and stream -> ranges of seq that are in the store."""
    stored: int = 0  # letters that were new
    duplicates: int = 0  # letters that were there already
    rejected: int = 0  # messages that cannot be read
    conflicts: Counter[tuple[Address, str]] = field(default_factory=Counter)
    """Station and stream -> messages, not seen before, whose number is another message's."""
    dropped: int = 0  # messages that were set aside before, for which there is no room any more

    def __iadd__(self, other: Receipt) -> Receipt:
        for key, ranges in other.acknowledged.items():
            seqs = [*self.acknowledged.get(key, ()), *ranges]
            self.acknowledged[key] = tuple(merged(seqs))
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.rejected += other.rejected
        self.conflicts += other.conflicts
        self.dropped += other.dropped
        return self


class Store:
    """Adds batches. One thread uses it; several stores, in several processes, may write to one database."""

    def __init__(self, engine: Engine, *, raw: str = "problems", rejected_rows_of_device: int = 4000) -> None:
        """raw: which messages are kept word for word as well; as [store] raw says.

        rejected_rows_of_device: what is set aside of one station at most; as [retention] says.
        """
        self._engine = engine
        self._raw = raw
        self._rejected_rows = rejected_rows_of_device
        self._speakers = Speakers()

    def add(self, batch: Sequence[Reading]) -> Receipt:
        """Store a batch for good; StoreAway where the store takes nothing now."""
        try:
            return self._add(batch)
        except (StatementError, UnicodeError, OverflowError) as error:
            if isinstance(error, StatementError) and not _is_of_a_message(error):
                raise StoreAway(cause(error)) from error
            self._speakers.forget()
            return self._add_apart(batch, error)
        except SQLAlchemyError as error:
            raise StoreAway(cause(error)) from error

    def _add_apart(self, batch: Sequence[Reading], error: Exception) -> Receipt:
        """A message among these cannot be stored: find it and set it aside."""
        if len(batch) > 1:
            receipt = self.add(batch[: len(batch) // 2])
            receipt += self.add(batch[len(batch) // 2 :])
            return receipt
        (reading,) = batch
        if isinstance(reading, Unreadable):
            raise StoreAway(cause(error)) from error
        return self.add([refuse(reading.arrival, f"the store does not take it: {cause(error)}", reading.address)])

    def _add(self, batch: Sequence[Reading]) -> Receipt:
        try:
            with self._engine.begin() as connection:
                crash_point("before-insert")
                receipt = self._store(connection, batch)
                crash_point("after-insert")
        except BaseException:
            self._speakers.forget()  # what was remembered of this transaction is not there
            raise
        crash_point("after-commit")
        if self._speakers.too_many:
            self._speakers.forget()
        return receipt

    def _store(self, connection: Connection, batch: Sequence[Reading]) -> Receipt:
        """Write everything; the answer holds once the transaction is committed."""
        self._speakers.know(connection, batch)
        letters = LetterRows(connection, self._speakers, [one for one in batch if isinstance(one, Letter)])
        letters.write(raw=self._raw)
        unreadable = [one for one in batch if isinstance(one, Unreadable)]
        aside = write_rejected(connection, self._speakers, [*unreadable, *letters.conflicts], most=self._rejected_rows)
        NewsRows(connection, self._speakers, [one for one in batch if isinstance(one, News)]).write()
        letters.count()
        new = Counter(letters.new_streams())
        new.update(aside.new)
        return _settle(connection, self._speakers, batch, new, aside)


def _is_of_a_message(error: StatementError) -> bool:
    """Whether a message is to blame: its values cannot be handed over, or the database calls them wrong.

    Not where it breaks another rule, as by a partition that is not there: what can be read breaks none of ours.
    """
    if isinstance(error, IntegrityError):
        return getattr(error.orig, "sqlstate", None) == _NO_VALUE or str(error.orig).startswith("NOT NULL")
    return isinstance(error, DataError) or type(error) is StatementError


def _settle(
    connection: Connection,
    speakers: Speakers,
    batch: Sequence[Reading],
    new: Counter[int],
    aside: SetAside,
) -> Receipt:
    """Count per stream, and say what may be acknowledged. new: stream -> how many of its messages were new."""
    others: Counter[int] = Counter()  # of two addresses, where a station was moved to another line
    for key, number in aside.conflicts.items():
        others[speakers.stream(*key)] += number
    came: dict[int, list[int]] = {}
    acknowledged: dict[tuple[Address, str], list[int]] = {}
    for address, stream_id, seq in _places(batch):
        came.setdefault(speakers.stream(address, stream_id), []).append(seq)
        acknowledged.setdefault((address, stream_id), []).append(seq)
    received_ms = max(reading.arrival.received_ms for reading in batch)
    rows = [
        {
            **{"of": stream, "most": max(seqs), "now": received_ms},
            **{"more": new[stream], "others": others[stream], "again": len(seqs) - new[stream] - others[stream]},
        }
        for stream, seqs in sorted(came.items())
    ]
    if rows:
        table = schema.stream
        counted = update(table).where(table.c.id == bindparam("of"))
        counted = counted.values(
            max_seq=case((table.c.max_seq < bindparam("most"), bindparam("most")), else_=table.c.max_seq),
            seen_ms=case((table.c.seen_ms < bindparam("now"), bindparam("now")), else_=table.c.seen_ms),
            stored=table.c.stored + bindparam("more"),
            duplicates=table.c.duplicates + bindparam("again"),
            conflicts=table.c.conflicts + bindparam("others"),
        )
        connection.execute(counted, rows)
    return Receipt(
        acknowledged={key: tuple(merged((seq, seq) for seq in seqs)) for key, seqs in acknowledged.items()},
        stored=sum(row["more"] for row in rows),
        duplicates=sum(row["again"] for row in rows),
        rejected=sum(isinstance(reading, Unreadable) for reading in batch),
        conflicts=aside.conflicts,
        dropped=aside.dropped,
    )


def _places(batch: Sequence[Reading]) -> Iterable[tuple[Address, str, int]]:
    """The place in its stream of every message whose place is known: letters, then what could not be read."""
    for letter in batch:
        if isinstance(letter, Letter):
            origin = origin_of(letter)
            yield letter.address, origin.stream_id, origin.seq
    for other in batch:
        if not isinstance(other, Unreadable) or other.address is None:
            continue
        if other.stream_id is not None and other.seq is not None:
            yield other.address, other.stream_id, other.seq
