"""The fleet's store: what stations said, each message once however often it came, in one transaction a batch."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Table, bindparam, case, cast, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError

from edge_resad.fleet import conflicts, schema
from edge_resad.fleet.clock import UNDATED, estimate, is_synced, to_ms
from edge_resad.fleet.coverage import merged
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.database import cause
from edge_resad.fleet.reading import Arrival, Letter, News, Picture, Reading, Unreadable, origin_of, refuse
from edge_resad.messages import (
    Address,
    Alert,
    Audit,
    Birth,
    Gap,
    NotInspected,
    Offline,
    Reply,
    Reported,
    Telemetry,
    Verdict,
)

_SEVERITIES = {"minor": 1, "major": 2, "critical": 3}
_KEPT_BYTES = 256 * 1024  # of a message whose place is known: a newer collector may read it
_SHOWN_BYTES = 4096  # of any other
_LONGEST_RESULT = 4096  # characters of one value of a reply's result, as JSON
_CACHED = 100_000  # names whose numbers are remembered
_LARGEST_RATIO = 1000.0  # one absurd part must not spoil an hour's mean
_CONFLICT = "conflict: another message has its number"
_SEEN_EVERY_MS = 10_000  # how exactly a device's last sign of life is kept


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

    def __iadd__(self, other: Receipt) -> Receipt:
        for key, ranges in other.acknowledged.items():
            seqs = [*self.acknowledged.get(key, ()), *ranges]
            self.acknowledged[key] = tuple(merged(seqs))
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.rejected += other.rejected
        self.conflicts += other.conflicts
        return self


class Store:
    """Adds batches. One thread uses it; several stores, in several processes, may write to one database."""

    def __init__(self, engine: Engine, *, raw: str = "problems") -> None:
        """raw: which messages are kept word for word as well; as [store] raw says."""
        self._engine = engine
        self._raw = raw
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._forget()

    def add(self, batch: Sequence[Reading]) -> Receipt:
        """Store a batch for good; StoreAway where the store takes nothing now."""
        try:
            return self._add(batch)
        except (StatementError, UnicodeError, OverflowError) as error:
            if isinstance(error, StatementError) and not _is_of_a_message(error):
                raise StoreAway(cause(error)) from error
            self._forget()
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
                receipt = _Batch(self, connection, batch).store()
                crash_point("after-insert")
        except BaseException:
            self._forget()  # what was remembered of this transaction is not there
            raise
        crash_point("after-commit")
        if max(len(self._devices), len(self._streams), len(self._boots)) > _CACHED:
            self._forget()
        return receipt

    def _forget(self) -> None:
        self._devices: dict[str, tuple[int, str, str]] = {}  # name -> number, site, line
        self._streams: dict[tuple[int, str], int] = {}
        self._boots: dict[tuple[int, str], tuple[int, int | None]] = {}  # -> number, offset_ms
        self._seen_ms: dict[int, int] = {}  # device -> what the store knows


def _is_of_a_message(error: StatementError) -> bool:
    """Whether a message is to blame: its values cannot be handed over, or the database calls them wrong."""
    return isinstance(error, (DataError, IntegrityError)) or type(error) is StatementError


class _Batch:
    """One batch on its way into the tables. Rows go in the order of their keys, so that two collectors cannot wait for
    each other in a circle.
    """

    def __init__(self, store: Store, connection: Connection, batch: Sequence[Reading]) -> None:
        self._store = store
        self._connection = connection
        self._letters = [reading for reading in batch if isinstance(reading, Letter)]
        self._states: list[tuple[News, Birth | Offline]] = []
        self._telemetry: list[News] = []
        self._replies: list[tuple[News, Reply]] = []
        self._reports: list[tuple[News, Reported]] = []
        for reading in batch:
            if isinstance(reading, News):
                content = reading.content
                if isinstance(content, Telemetry):
                    self._telemetry.append(reading)
                elif isinstance(content, Reply):
                    self._replies.append((reading, content))
                elif isinstance(content, Reported):
                    self._reports.append((reading, content))
                else:
                    self._states.append((reading, content))
        self._unreadable = [reading for reading in batch if isinstance(reading, Unreadable)]
        self._batch = batch
        self._rows: dict[str, dict[tuple[int, int], dict[str, Any]]] = {table.name: {} for table in schema.LETTERS}
        self._new: dict[str, set[tuple[int, int]]] = {}  # table -> keys of the letters that were new
        self._facts: dict[conflicts.Key, conflicts.Facts] = {}  # of the first letter with this number
        self._others: list[Letter] = []  # letters whose number is another one's
        self._conflicts: Counter[tuple[Address, str]] = Counter()  # those that came for the first time

    def store(self) -> Receipt:
        """Write everything; the answer holds once the transaction is committed."""
        self._know_devices()
        self._know_streams()
        self._know_boots()
        for letter in self._letters:
            self._add_row(letter)
        for table in schema.LETTERS:
            rows = [row for _, row in sorted(self._rows[table.name].items())]
            self._new[table.name] = self._insert_new(table, rows, ("stream", "seq"))
        self._set_conflicts_aside()
        self._write_raw()
        self._write_gap_ranges()
        self._write_alerts()
        rejected = self._write_rejected()
        self._write_states()
        self._write_telemetry()
        self._write_replies()
        self._write_reports()
        self._mark_pending()
        self._count_hours()
        return self._settle(rejected)

    # Who speaks

    def _know_devices(self) -> None:
        speakers = {reading.address: reading.arrival.received_ms for reading in self._batch if reading.address}
        by_name = {address.device: (address, seen_ms) for address, seen_ms in speakers.items()}
        known = self._store._devices
        unknown = sorted(name for name in by_name if name not in known)
        table = schema.device
        if unknown:
            rows = [
                {
                    **{"name": name, "site": by_name[name][0].site, "line": by_name[name][0].line},
                    **{"first_ms": by_name[name][1], "seen_ms": by_name[name][1]},
                }
                for name in unknown
            ]
            self._connection.execute(self._store._insert(table).on_conflict_do_nothing(), rows)
            asked = select(table.c.name, table.c.id, table.c.site, table.c.line).where(table.c.name.in_(unknown))
            for name, number, site, line in self._connection.execute(asked):
                known[name] = (number, site, line)
        moved, seen = [], []
        for name, (address, seen_ms) in sorted(by_name.items()):
            number, *place = known[name]
            if place != [address.site, address.line]:
                moved.append({"of": number, "site": address.site, "line": address.line})
                known[name] = (number, address.site, address.line)
            if seen_ms - self._store._seen_ms.get(number, 0) >= _SEEN_EVERY_MS:
                seen.append({"of": number, "seen": seen_ms})
                self._store._seen_ms[number] = seen_ms
        if moved:
            self._connection.execute(update(table).where(table.c.id == bindparam("of")), moved)
        if seen:
            later = case((table.c.seen_ms < bindparam("seen"), bindparam("seen")), else_=table.c.seen_ms)
            self._connection.execute(update(table).where(table.c.id == bindparam("of")).values(seen_ms=later), seen)

    def _device(self, address: Address) -> int:
        return self._store._devices[address.device][0]

    def _know_streams(self) -> None:
        wanted = {
            (self._device(letter.address), stream_id): letter.arrival.received_ms
            for letter in self._letters
            for stream_id in _streams_of(letter)
        }
        for unreadable in self._unreadable:
            if unreadable.address is not None and unreadable.stream_id is not None:
                key = (self._device(unreadable.address), unreadable.stream_id)
                wanted.setdefault(key, unreadable.arrival.received_ms)
        for news, said in self._states:
            wanted.setdefault((self._device(news.address), said.stream_id), news.arrival.received_ms)
        table, known = schema.stream, self._store._streams
        unknown = sorted(key for key in wanted if key not in known)
        if unknown:
            rows = [
                {"device": device, "stream_id": name, "first_ms": wanted[device, name], "seen_ms": wanted[device, name]}
                for device, name in unknown
            ]
            self._connection.execute(self._store._insert(table).on_conflict_do_nothing(), rows)
            asked = select(table.c.device, table.c.stream_id, table.c.id)
            asked = asked.where(table.c.stream_id.in_([name for _, name in unknown]))
            for device, name, number in self._connection.execute(asked):
                known[device, name] = number

    def _stream(self, address: Address, stream_id: str) -> int:
        return self._store._streams[self._device(address), stream_id]

    def _know_boots(self) -> None:
        origins = [
            (self._device(letter.address), origin_of(letter), letter.arrival.received_ms) for letter in self._letters
        ]
        wanted = {(device, origin.boot_id): received_ms for device, origin, received_ms in origins}
        table, known = schema.boot, self._store._boots
        unknown = sorted(key for key in wanted if key not in known)
        if unknown:
            rows = [{"device": device, "boot_id": name, "first_ms": wanted[device, name]} for device, name in unknown]
            self._connection.execute(self._store._insert(table).on_conflict_do_nothing(), rows)
            asked = select(table.c.device, table.c.boot_id, table.c.id, table.c.offset_ms)
            asked = asked.where(table.c.boot_id.in_([name for _, name in unknown]))
            for device, name, number, offset_ms in self._connection.execute(asked):
                known[device, name] = (number, offset_ms)
        offsets = {}
        for device, origin, received_ms in origins:
            number, offset_ms = known[device, origin.boot_id]
            if offset_ms is None and is_synced(origin, received_ms):
                offset_ms = to_ms(origin.wall_s) - to_ms(origin.mono_s)
                known[device, origin.boot_id] = (number, offset_ms)
                offsets[number] = offset_ms
        if offsets:
            first = update(table).where(table.c.id == bindparam("of"), table.c.offset_ms.is_(None))
            rows = [{"of": number, "offset": offset_ms} for number, offset_ms in sorted(offsets.items())]
            self._connection.execute(first.values(offset_ms=bindparam("offset")), rows)

    # What they said

    def _add_row(self, letter: Letter) -> None:
        origin, received_ms = origin_of(letter), letter.arrival.received_ms
        device = self._device(letter.address)
        boot, offset_ms = self._store._boots[device, origin.boot_id]
        at_ms, quality = estimate(origin, received_ms, offset_ms)
        row: dict[str, Any] = {
            "stream": self._store._streams[device, origin.stream_id],
            "seq": origin.seq,
            "boot": boot,
            "received_ms": received_ms,
            "at_ms": at_ms,
            "at_quality": quality,
            "wall_ms": to_ms(origin.wall_s),
            "mono_ms": to_ms(origin.mono_s),
        }
        content = letter.content
        if isinstance(content, Gap):
            of = self._stream(letter.address, content.previous_stream_id or content.stream_id)
            row |= {"of_stream": of, "reason": content.reason, "counts": json.dumps(content.counts, sort_keys=True)}
        elif isinstance(content, Audit):
            row |= {
                "device": device,
                "command_id": content.command_id,
                "command": content.command,
                "arguments": json.dumps(content.arguments, sort_keys=True),
                "issued_by": content.issued_by,
                "role": content.role,
                "status": content.status,
                "sentence": content.sentence,
            }
        elif isinstance(content, Picture):
            row |= {"device": device, "event": content.event, "jpeg": content.jpeg}
        elif isinstance(content, Alert):
            row |= _alert_columns(device, content)
        else:
            row |= _verdict_columns(device, content)
        table, key = _table_of(letter), _letter_key(row)
        facts = conflicts.facts(table, row)
        if self._facts.setdefault(key, facts) != facts:
            self._others.append(letter)
            return
        self._rows[table.name].setdefault(key, row)  # one that came twice is one

    def _insert_new(self, table: Table, rows: list[dict[str, Any]], key: tuple[str, ...]) -> set[tuple[Any, ...]]:
        """Insert what is not there yet; the keys of what was not."""
        if not rows:
            return set()
        keys = [table.c[name] for name in key]
        if self._connection.dialect.name == "postgresql":
            # One array a column: a statement with ten thousand values would take longer to read than to carry out.
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            arrays = [cast(bindparam(f"all_{name}"), postgresql.ARRAY(table.c[name].type)) for name in columns]
            source = func.unnest(*arrays).table_valued(*columns).render_derived()
            statement = postgresql.insert(table).from_select(list(columns), select(*source.c))
            inserted = self._connection.execute(
                statement.on_conflict_do_nothing().returning(*keys),
                {f"all_{name}": values for name, values in columns.items()},
            )
        else:
            inserted = self._connection.execute(sqlite.insert(table).on_conflict_do_nothing().returning(*keys), rows)
        return {tuple(row) for row in inserted}

    def _set_conflicts_aside(self) -> None:
        """What has a number that another message had before it goes to `rejected` instead of its table.

        Two collectors that store two messages with one number at the same moment, in two tables, may keep both there.
        """
        found = self._conflicting_keys()
        others = {id(letter) for letter in self._others}
        rest = []
        for letter in self._letters if found or others else ():
            if id(letter) not in others and self._place_of(letter) not in found:
                rest.append(letter)
                continue
            origin = origin_of(letter)
            about = (letter.address, origin.stream_id, origin.seq)
            self._unreadable.append(Unreadable(letter.arrival, _CONFLICT, *about, conflict=True))
        if not found and not others:
            return
        self._letters = rest
        for table in schema.LETTERS:
            gone = sorted(found & self._rows[table.name].keys())
            for key in gone:
                del self._rows[table.name][key]
            new = [{"its_stream": key[0], "its_seq": key[1]} for key in gone if key in self._new[table.name]]
            if new:
                these = (table.c.stream == bindparam("its_stream")) & (table.c.seq == bindparam("its_seq"))
                self._connection.execute(delete(table).where(these), new)
                self._new[table.name] -= set(gone)

    def _conflicting_keys(self) -> set[conflicts.Key]:
        """Numbers of this batch under which another message was stored before."""
        table = schema.stream
        asked = select(table.c.id, table.c.max_seq).where(table.c.id.in_({stream for stream, _ in self._facts}))
        before = {row.id: row.max_seq for row in self._connection.execute(asked)} if self._facts else {}
        # A number beyond all that came cannot be another message's, so that mostly there is nothing to look up.
        within = {name: {key for key in keys if key[1] <= before[key[0]]} for name, keys in self._new.items() if keys}
        found: set[conflicts.Key] = set()
        for table in schema.LETTERS:
            again = self._rows[table.name].keys() - self._new[table.name]
            stored = conflicts.stored_facts(self._connection, table, again)
            found |= {key for key, facts in stored.items() if facts != self._facts[key]}
            elsewhere = set().union(*(keys for name, keys in within.items() if name != table.name))
            found |= conflicts.taken(self._connection, table, elsewhere)
        set_aside = conflicts.set_aside(self._connection, set().union(*within.values()))
        if set_aside:
            for letter in self._letters:
                digests = set_aside.get(self._place_of(letter))
                if digests and _digest(letter.arrival) not in digests:
                    found.add(self._place_of(letter))
        return found

    def _place_of(self, letter: Letter) -> conflicts.Key:
        origin = origin_of(letter)
        return self._stream(letter.address, origin.stream_id), origin.seq

    def _new_rows(self, table: Table) -> list[dict[str, Any]]:
        """Rows of letters that were not there yet, in the order of their keys."""
        new = self._new[table.name]
        return [row for key, row in sorted(self._rows[table.name].items()) if key in new]

    def _is_new(self, letter: Letter) -> bool:
        origin = origin_of(letter)
        return (self._stream(letter.address, origin.stream_id), origin.seq) in self._new[_table_of(letter).name]

    def _write_raw(self) -> None:
        rows = []
        for letter in self._letters:
            if self._store._raw == "none" or isinstance(letter.content, Picture):
                continue
            if (
                self._store._raw == "problems"
                and isinstance(letter.content, Verdict)
                and letter.content.status == "pass"
            ):
                continue
            origin = origin_of(letter)
            rows.append(
                {
                    "stream": self._stream(letter.address, origin.stream_id),
                    "seq": origin.seq,
                    "received_ms": letter.arrival.received_ms,
                    "topic": letter.arrival.topic,
                    "payload": letter.arrival.payload,
                }
            )
        if rows:
            rows.sort(key=_letter_key)
            self._insert_new(schema.raw, rows, ("stream", "seq"))

    def _write_gap_ranges(self) -> None:
        rows, replaced = [], []
        for letter in self._letters:
            gap = letter.content
            if not isinstance(gap, Gap) or not self._is_new(letter):
                continue
            of = self._stream(letter.address, gap.previous_stream_id or gap.stream_id)
            rows += [{"of_stream": of, "first_seq": first, "last_seq": last} for first, last in gap.ranges]
            if gap.previous_stream_id is not None:
                replaced.append({"of": of, "by": gap.stream_id})
        if rows:
            rows.sort(key=lambda row: (row["of_stream"], row["first_seq"]))
            self._connection.execute(self._store._insert(schema.gap_range).on_conflict_do_nothing(), rows)
        if replaced:
            changed = update(schema.stream).where(schema.stream.c.id == bindparam("of"))
            self._connection.execute(changed.values(replaced_by=bindparam("by")), replaced)

    def _write_alerts(self) -> None:
        alerts: dict[tuple[int, str], dict[str, Any]] = {}
        for row in self._new_rows(schema.alert_message):  # ascending: of two of one alert the later comes later
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
        statement = self._store._insert(table)
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
        changes |= {
            name: case((said[name] > had[name], said[name]), else_=had[name]) for name in ("worst", "received_ms")
        }
        changes |= {"open": had.open & said.open, "messages": had.messages + said.messages}
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["device", "alert_id"], set_=changes),
            [alerts[key] for key in sorted(alerts)],
        )

    def _write_rejected(self) -> list[tuple[int, int, bool]]:
        """Stream, seq and whether it is new of the unreadable ones whose place is known; conflicts count apart."""
        rows: dict[str, dict[str, Any]] = {}
        for unreadable in self._unreadable:
            arrival = unreadable.arrival
            digest = _digest(arrival)
            stream = None
            if unreadable.address is not None and unreadable.stream_id is not None:
                stream = self._stream(unreadable.address, unreadable.stream_id)
            row = rows.setdefault(
                digest,
                {
                    **{"digest": digest, "stream": stream, "seq": unreadable.seq, "times": 0},
                    **{"first_ms": arrival.received_ms, "reason": unreadable.reason},
                    "topic": arrival.topic.encode(errors="replace").decode().replace("\0", "")[:1000],
                    "payload": arrival.payload[: _SHOWN_BYTES if stream is None else _KEPT_BYTES],
                    "payload_bytes": len(arrival.payload),
                    "conflict": unreadable.conflict,
                },
            )
            row["times"] += 1
            row["received_ms"] = arrival.received_ms
        if not rows:
            return []
        table = schema.rejected
        self._count_conflicts({digest for digest, row in rows.items() if row["conflict"]})
        placed = [row for row in rows.values() if row["stream"] is not None and not row["conflict"]]
        places = {(row["stream"], row["seq"]) for row in placed}
        asked = select(table.c.stream, table.c.seq).where(table.c.stream.in_({stream for stream, _ in places}))
        asked = asked.where(table.c.seq.in_({seq for _, seq in places}), ~table.c.conflict)
        had = {(stream, seq) for stream, seq in self._connection.execute(asked)} if places else set()
        statement = self._store._insert(table)
        said = statement.excluded
        again = {"times": table.c.times + said.times, "received_ms": said.received_ms, "reason": said.reason}
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["digest"], set_=again),
            [rows[digest] for digest in sorted(rows)],
        )
        return [(stream, seq, (stream, seq) not in had) for stream, seq in sorted(places)]

    def _count_conflicts(self, digests: set[str]) -> None:
        """Count those that are not in `rejected` yet."""
        if not digests:
            return
        table = schema.rejected
        had = set(self._connection.execute(select(table.c.digest).where(table.c.digest.in_(digests))).scalars())
        for unreadable in self._unreadable:
            digest = _digest(unreadable.arrival)
            if digest in digests - had and unreadable.address is not None and unreadable.stream_id is not None:
                had.add(digest)
                self._conflicts[unreadable.address, unreadable.stream_id] += 1

    # What follows from it

    def _write_states(self) -> None:
        if not self._states:
            return
        rows = {
            (self._device(news.address), news.message_id): {
                "device": self._device(news.address),
                "message_id": news.message_id,
                "received_ms": news.arrival.received_ms,
                "stream_id": said.stream_id,
                "bd_seq": said.bd_seq,
                "online": said.online,
                "payload": _as_json(news),
            }
            for news, said in self._states
        }
        # A retained state comes again with every connection; it says nothing of now that was not known.
        new = self._insert_new(schema.state, [row for _, row in sorted(rows.items())], ("device", "message_id"))
        table = schema.device
        for news, said in sorted(self._states, key=lambda state: self._device(state[0].address)):  # stable
            if (self._device(news.address), news.message_id) not in new:
                continue
            of_it = table.c.id == self._device(news.address)
            same = table.c.state_stream == said.stream_id
            if isinstance(said, Birth):
                newer = or_(table.c.bd_seq.is_(None), ~same, table.c.bd_seq < said.bd_seq)
                going_on = same & (table.c.bd_seq == said.bd_seq) & table.c.online
                changes: dict[str, Any] = {
                    **{"online": True, "state_stream": said.stream_id, "bd_seq": said.bd_seq},
                    **{"state_ms": news.arrival.received_ms, "version": said.version, "bundle": said.bundle},
                    **{"product": said.product, "waiting": said.waiting, "dropped": said.dropped},
                    "faults": None if said.faults is None else json.dumps(said.faults, sort_keys=True),
                }
                self._connection.execute(update(table).where(of_it, or_(newer, going_on)).values(**changes))
                self._announce(self._stream(news.address, said.stream_id), said.live_from_seq - 1)
            else:
                unknown = table.c.bd_seq.is_(None)
                ends = or_(unknown, same & (table.c.bd_seq <= said.bd_seq))
                gone = {"online": False, "bd_seq": said.bd_seq, "state_stream": said.stream_id}
                self._connection.execute(
                    update(table).where(of_it, ends).values(**gone, state_ms=news.arrival.received_ms)
                )

    def _write_telemetry(self) -> None:
        rows = {
            (self._device(news.address), news.message_id): {
                "device": self._device(news.address),
                "message_id": news.message_id,
                "received_ms": news.arrival.received_ms,
                "payload": _as_json(news),
            }
            for news in self._telemetry
        }
        self._insert_new(schema.telemetry, [row for _, row in sorted(rows.items())], ("device", "message_id"))

    def _write_replies(self) -> None:
        """What came again is the same reply: its station says it again until somebody must have heard it."""
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for news, said in self._replies:
            row = {
                "device": self._device(news.address),
                "command_id": said.command_id,
                "status": said.status,
                "received_ms": news.arrival.received_ms,
                "command": said.command,
                "sentence": said.sentence,
                "result": None if said.result is None else _result(said.result),
            }
            rows.setdefault((row["device"], said.command_id, said.status), row)
        self._insert_new(schema.reply, [row for _, row in sorted(rows.items())], ("device", "command_id", "status"))

    def _write_reports(self) -> None:
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for news, said in self._reports:
            row = {
                "device": self._device(news.address),
                "message_id": news.message_id,
                "received_ms": news.arrival.received_ms,
                "version": said.version,
                "status": said.status,
                "sentence": said.sentence,
                "refused": json.dumps(said.refused, sort_keys=True),
                "settings": json.dumps(said.settings, sort_keys=True),
            }
            rows.setdefault((row["device"], news.message_id), row)
        self._insert_new(schema.reported, [row for _, row in sorted(rows.items())], ("device", "message_id"))

    def _announce(self, stream: int, seq: int) -> None:
        table = schema.stream
        more = update(table).where(table.c.id == stream, table.c.announced_seq < seq)
        self._connection.execute(more.values(announced_seq=seq))

    def _mark_pending(self) -> None:
        """Remember boot sessions with rows that a synchronised clock would date better."""
        undated = {
            row["boot"] for rows in self._rows.values() for row in rows.values() if row["at_quality"] in UNDATED
        }  # of duplicates too: the mark is taken away where nothing is to do
        if undated:
            table = schema.boot
            # Even where it is marked: the one that takes the mark away holds the row, and is waited for here.
            marked = update(table).where(table.c.id == bindparam("of")).values(pending=True)
            self._connection.execute(marked, [{"of": number} for number in sorted(undated)])

    def _count_hours(self) -> None:
        add_to_hours(self._connection, self._new_rows(schema.verdict))

    def _settle(self, rejected: list[tuple[int, int, bool]]) -> Receipt:
        """Count per stream, and say what may be acknowledged."""
        rejects = sum(not reading.conflict for reading in self._unreadable)
        receipt = Receipt(rejected=rejects, conflicts=self._conflicts)
        others = {self._stream(*key): number for key, number in self._conflicts.items()}
        came: dict[int, list[int]] = {}
        acknowledged: dict[tuple[Address, str], list[int]] = {}
        for letter in self._letters:
            origin = origin_of(letter)
            came.setdefault(self._stream(letter.address, origin.stream_id), []).append(origin.seq)
            acknowledged.setdefault((letter.address, origin.stream_id), []).append(origin.seq)
        for unreadable in self._unreadable:
            if unreadable.address is not None and unreadable.stream_id is not None and unreadable.seq is not None:
                stream = self._stream(unreadable.address, unreadable.stream_id)
                came.setdefault(stream, []).append(unreadable.seq)
                acknowledged.setdefault((unreadable.address, unreadable.stream_id), []).append(unreadable.seq)
        new = Counter(stream for keys in self._new.values() for stream, _ in keys)
        new.update(stream for stream, _, is_new in rejected if is_new)
        received_ms = max(reading.arrival.received_ms for reading in self._batch)
        rows = [
            {
                **{"of": stream, "most": max(seqs), "now": received_ms},
                **{"more": new[stream], "others": others.get(stream, 0)},
                "again": len(seqs) - new[stream] - others.get(stream, 0),
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
            self._connection.execute(counted, rows)
        receipt.stored = sum(row["more"] for row in rows)
        receipt.duplicates = sum(row["again"] for row in rows)
        receipt.acknowledged = {key: tuple(merged((seq, seq) for seq in seqs)) for key, seqs in acknowledged.items()}
        return receipt


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
    statement = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    more = {name: table.c[name] + statement.excluded[name] for name in (*names, "ratio_sum")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["hour_ms", "device", "product"], set_=more), rows
    )


def _digest(arrival: Arrival) -> str:
    return hashlib.sha256(arrival.topic.encode(errors="replace") + b"\0" + arrival.payload).hexdigest()


def _as_json(news: News) -> str:
    return json.dumps(news.content.model_dump(mode="json", exclude_none=True), sort_keys=True)


def _result(result: Mapping[str, Any]) -> str:
    """A reply's result without what is too long for a row, such as a picture."""
    values = {name: json.dumps(value, sort_keys=True) for name, value in sorted(result.items())}
    short = {name: json.loads(value) for name, value in values.items() if len(value) <= _LONGEST_RESULT}
    return json.dumps(short)


def _letter_key(row: Mapping[str, Any]) -> tuple[int, int]:
    return row["stream"], row["seq"]


def _table_of(letter: Letter) -> Table:
    content = letter.content
    if isinstance(content, Gap):
        return schema.gap
    if isinstance(content, Audit):
        return schema.command
    if isinstance(content, Picture):
        return schema.thumbnail
    return schema.alert_message if isinstance(content, Alert) else schema.verdict


def _streams_of(letter: Letter) -> list[str]:
    """The stream that a letter is of and, of a gap, the one that it speaks of."""
    content = letter.content
    streams = [origin_of(letter).stream_id]
    if isinstance(content, Gap) and content.previous_stream_id is not None:
        streams.append(content.previous_stream_id)
    return streams


def _verdict_columns(device: int, content: Verdict | NotInspected) -> dict[str, Any]:
    about = {"device": device, "camera": content.camera, "product": content.product, "frame_id": content.frame_id}
    if isinstance(content, NotInspected):
        nothing = dict.fromkeys(("product_version", "severity", "score", "threshold", "regions", "latency_ms"))
        return {**about, **nothing, "status": content.status, "reason": content.reason}
    return {
        **about,
        "product_version": content.product_version,
        "status": content.status,
        "severity": content.severity,
        "score": content.score,
        "threshold": content.threshold,
        "regions": content.regions_total,
        "latency_ms": content.latency_ms,
        "reason": None,
    }


def _alert_columns(device: int, content: Alert) -> dict[str, Any]:
    return {
        "device": device,
        "alert_id": content.alert_id,
        "phase": content.phase,
        "severity": content.severity,
        "camera": content.camera,
        "product": content.product,
        "product_version": content.product_version,
        "score": content.verdict.score if content.verdict else None,
        "threshold": content.verdict.threshold if content.verdict else None,
        "fault": content.fault,
        "image_event": content.image.topic.rpartition("/")[2][:200] if content.image else None,
    }
