"""Letters' rows: every message of a stream in its table, once, with what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, update

from edge_resad.fleet import conflicts, schema
from edge_resad.fleet.alert_rows import rejoin_alerts, write_alerts
from edge_resad.fleet.clock import UNDATED, estimate, to_ms
from edge_resad.fleet.coverage import removed_before
from edge_resad.fleet.hours import add_to_hours
from edge_resad.fleet.inserting import insert_into, insert_new
from edge_resad.fleet.reading import Letter, Picture, Unreadable, origin_of
from edge_resad.fleet.rejected_rows import digest_of
from edge_resad.fleet.speakers import Speakers
from edge_resad.messages import Alert, Audit, Gap, NotInspected, Verdict

_CONFLICT = "conflict: another message has its number"


class LetterRows:
    """The letters of one batch. Rows go in the order of their keys, so that two collectors cannot wait for each other
    in a circle.
    """

    def __init__(self, connection: Connection, speakers: Speakers, letters: Sequence[Letter]) -> None:
        self._connection = connection
        self._speakers = speakers
        self._letters = letters
        self._rows: dict[str, dict[tuple[int, int], dict[str, Any]]] = {table.name: {} for table in schema.LETTERS}
        self._new: dict[str, set[tuple[int, int]]] = {}  # table -> keys of the letters that were new
        self._removed: set[tuple[int, int]] = set()  # of the new ones: had been there before retention removed them
        self._facts: dict[conflicts.Key, conflicts.Facts] = {}  # of the first letter with a number
        self.conflicts: list[Unreadable] = []
        """Letters whose number is another message's; they are in no table yet."""

    def write(self, *, raw: str) -> None:
        """Into their tables. raw: which of them are kept word for word as well."""
        firsts = []
        for letter in self._letters:
            row, table = _row(self._speakers, letter), _table_of(letter)
            key, facts = _letter_key(row), conflicts.facts(table, row)
            if self._facts.setdefault(key, facts) == facts:
                self._rows[table.name].setdefault(key, row)  # one that came twice is one
                firsts.append(letter)
            else:
                self._set_aside(letter)
        self._letters = firsts
        for table in schema.LETTERS:
            rows = [row for _, row in sorted(self._rows[table.name].items())]
            self._new[table.name] = insert_new(self._connection, table, rows, ("stream", "seq"))
        self._set_conflicts_aside()
        self._removed = removed_before(self._connection, [key for keys in self._new.values() for key in keys])
        self._leave_alerts_removed()
        self._write_raw(raw)
        devices = self._write_gap_ranges()
        write_alerts(self._connection, self._new_rows(schema.alert_message))
        rejoin_alerts(self._connection, devices)

    def count(self) -> None:
        """Mark what waits for a better date, and count hours. Last, for other collectors wait for these rows."""
        self._mark_pending()
        new = [row for row in self._new_rows(schema.verdict) if _letter_key(row) not in self._removed]
        add_to_hours(self._connection, new)

    def new_streams(self) -> Iterator[int]:
        """The stream of each letter that came for the first time."""
        return (stream for keys in self._new.values() for stream, _ in keys - self._removed)

    def _set_conflicts_aside(self) -> None:
        """What has a number that another message had before it has no place in its table.

        Two collectors that store two messages with one number at the same moment, in two tables, may keep both there.
        """
        found = conflicts.conflicting(self._connection, self._facts, self._new, self._digests)
        if not found:
            return
        for letter in self._letters:
            if self._place_of(letter) in found:
                self._set_aside(letter)
        self._letters = [letter for letter in self._letters if self._place_of(letter) not in found]
        for table in schema.LETTERS:
            gone = sorted(found & self._rows[table.name].keys())
            for key in gone:
                del self._rows[table.name][key]
            self._take_back(table, [key for key in gone if key in self._new[table.name]])

    def _leave_alerts_removed(self) -> None:
        """A message of an alert that retention has removed does not begin it anew: nothing would ever end it."""
        table = schema.alert_message
        again = self._removed & self._new[table.name]
        for key in again:
            del self._rows[table.name][key]
        self._take_back(table, sorted(again))

    def _take_back(self, table: Table, keys: Sequence[tuple[int, int]]) -> None:
        """Delete rows that this batch has inserted."""
        if keys:
            these = (table.c.stream == bindparam("its_stream")) & (table.c.seq == bindparam("its_seq"))
            self._connection.execute(
                delete(table).where(these), [{"its_stream": stream, "its_seq": seq} for stream, seq in keys]
            )
            self._new[table.name] -= set(keys)

    def _set_aside(self, letter: Letter) -> None:
        origin = origin_of(letter)
        place = (letter.address, origin.stream_id, origin.seq)
        self.conflicts.append(Unreadable(letter.arrival, _CONFLICT, *place, conflict=True))

    def _digests(self) -> dict[conflicts.Key, str]:
        return {self._place_of(letter): digest_of(letter.arrival) for letter in self._letters}

    def _place_of(self, letter: Letter) -> conflicts.Key:
        origin = origin_of(letter)
        return self._speakers.stream(letter.address, origin.stream_id), origin.seq

    def _new_rows(self, table: Table) -> list[dict[str, Any]]:
        """Rows of letters that were not there yet, in the order of their keys."""
        new = self._new[table.name]
        return [row for key, row in sorted(self._rows[table.name].items()) if key in new]

    def _is_new(self, letter: Letter) -> bool:
        origin = origin_of(letter)
        key = (self._speakers.stream(letter.address, origin.stream_id), origin.seq)
        return key in self._new[_table_of(letter).name]

    def _write_raw(self, kept: str) -> None:
        rows = []
        for letter in self._letters:
            if kept == "none" or isinstance(letter.content, Picture):
                continue
            if kept == "problems" and isinstance(letter.content, Verdict) and letter.content.status == "pass":
                continue
            origin = origin_of(letter)
            rows.append(
                {
                    "stream": self._speakers.stream(letter.address, origin.stream_id),
                    "seq": origin.seq,
                    "received_ms": letter.arrival.received_ms,
                    "topic": letter.arrival.topic,
                    "payload": letter.arrival.payload,
                }
            )
        if rows:
            rows.sort(key=_letter_key)
            insert_new(self._connection, schema.raw, rows, ("stream", "seq"))

    def _write_gap_ranges(self) -> set[int]:
        """The stations of which one stream took another's place."""
        rows, replaced, devices = [], [], set()
        for letter in self._letters:
            gap = letter.content
            if not isinstance(gap, Gap) or not self._is_new(letter):
                continue
            of = self._speakers.stream(letter.address, gap.previous_stream_id or gap.stream_id)
            rows += [{"of_stream": of, "first_seq": first, "last_seq": last} for first, last in gap.ranges]
            if gap.previous_stream_id is not None:
                replaced.append({"of": of, "by": gap.stream_id})
                devices.add(self._speakers.device(letter.address))
        if rows:
            rows.sort(key=lambda row: (row["of_stream"], row["first_seq"]))
            self._connection.execute(insert_into(self._connection, schema.gap_range).on_conflict_do_nothing(), rows)
        if replaced:
            changed = update(schema.stream).where(schema.stream.c.id == bindparam("of"))
            self._connection.execute(changed.values(replaced_by=bindparam("by")), replaced)
        return devices

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


def _row(speakers: Speakers, letter: Letter) -> dict[str, Any]:
    origin, received_ms = origin_of(letter), letter.arrival.received_ms
    device = speakers.device(letter.address)
    boot, offset_ms = speakers.boot(letter.address, origin.boot_id)
    at_ms, quality = estimate(origin, received_ms, offset_ms)
    row: dict[str, Any] = {
        "stream": speakers.stream(letter.address, origin.stream_id),
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
        of = speakers.stream(letter.address, content.previous_stream_id or content.stream_id)
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
    return row


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
        "reason": content.reason,
        "image_event": content.image.topic.rpartition("/")[2][:200] if content.image else None,
    }
