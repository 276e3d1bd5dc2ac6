"""News' rows: states, telemetry, replies and reported settings, each once, and what a station is by its newest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, or_, update

from edge_resad.fleet import schema
from edge_resad.fleet.inserting import insert_new
from edge_resad.fleet.reading import News
from edge_resad.fleet.speakers import Speakers
from edge_resad.messages import Birth, Offline, Reply, Reported, Telemetry

_LONGEST_RESULT = 4096  # characters of one value of a reply's result, as JSON


class NewsRows:
    """The news of one batch."""

    def __init__(self, connection: Connection, speakers: Speakers, news: Sequence[News]) -> None:
        self._connection = connection
        self._speakers = speakers
        self._states: list[tuple[News, Birth | Offline]] = []
        self._telemetry: list[News] = []
        self._replies: list[tuple[News, Reply]] = []
        self._reports: list[tuple[News, Reported]] = []
        for one in news:
            content = one.content
            if isinstance(content, Telemetry):
                self._telemetry.append(one)
            elif isinstance(content, Reply):
                self._replies.append((one, content))
            elif isinstance(content, Reported):
                self._reports.append((one, content))
            else:
                self._states.append((one, content))

    def write(self) -> None:
        """Into their tables."""
        self._write_states()
        self._write_telemetry()
        self._write_replies()
        self._write_reports()

    def _write_states(self) -> None:
        if not self._states:
            return
        rows = {
            (self._speakers.device(news.address), news.message_id): {
                "device": self._speakers.device(news.address),
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
        new = insert_new(
            self._connection, schema.state, [row for _, row in sorted(rows.items())], ("device", "message_id")
        )
        table = schema.device
        for news, said in sorted(self._states, key=lambda state: self._speakers.device(state[0].address)):  # stable
            if (self._speakers.device(news.address), news.message_id) not in new:
                continue
            of_it = table.c.id == self._speakers.device(news.address)
            same = table.c.state_stream == said.stream_id
            if isinstance(said, Birth):
                newer = or_(table.c.bd_seq.is_(None), ~same, table.c.bd_seq < said.bd_seq)
                going_on = same & (table.c.bd_seq == said.bd_seq) & table.c.online
                changes: dict[str, Any] = {
                    **{"online": True, "state_stream": said.stream_id, "bd_seq": said.bd_seq},
                    **{"state_ms": news.arrival.received_ms, "version": said.version, "bundle": said.bundle},
                    **{"product": said.product, "waiting": said.waiting, "dropped": said.dropped},
                    "dead": said.dead,
                    "faults": None if said.faults is None else json.dumps(said.faults, sort_keys=True),
                }
                self._connection.execute(update(table).where(of_it, or_(newer, going_on)).values(**changes))
                self._announce(self._speakers.stream(news.address, said.stream_id), said.live_from_seq - 1)
            else:
                unknown = table.c.bd_seq.is_(None)
                ends = or_(unknown, same & (table.c.bd_seq <= said.bd_seq))
                gone = {"online": False, "bd_seq": said.bd_seq, "state_stream": said.stream_id}
                self._connection.execute(
                    update(table).where(of_it, ends).values(**gone, state_ms=news.arrival.received_ms)
                )

    def _write_telemetry(self) -> None:
        rows = {
            (self._speakers.device(news.address), news.message_id): {
                "device": self._speakers.device(news.address),
                "message_id": news.message_id,
                "received_ms": news.arrival.received_ms,
                "payload": _as_json(news),
            }
            for news in self._telemetry
        }
        insert_new(
            self._connection, schema.telemetry, [row for _, row in sorted(rows.items())], ("device", "message_id")
        )

    def _write_replies(self) -> None:
        """A reply that comes again, or is said again, is the same reply."""
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for news, said in self._replies:
            row = {
                "device": self._speakers.device(news.address),
                "command_id": said.command_id,
                "status": said.status,
                "received_ms": news.arrival.received_ms,
                "command": said.command,
                "sentence": said.sentence,
                "result": None if said.result is None else _result(said.result),
            }
            rows.setdefault((row["device"], said.command_id, said.status), row)
        insert_new(
            self._connection, schema.reply, [row for _, row in sorted(rows.items())], ("device", "command_id", "status")
        )

    def _write_reports(self) -> None:
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for news, said in self._reports:
            row = {
                "device": self._speakers.device(news.address),
                "message_id": news.message_id,
                "received_ms": news.arrival.received_ms,
                "version": said.version,
                "status": said.status,
                "sentence": said.sentence,
                "refused": json.dumps(said.refused, sort_keys=True),
                "settings": json.dumps(said.settings, sort_keys=True),
            }
            rows.setdefault((row["device"], news.message_id), row)
        insert_new(
            self._connection, schema.reported, [row for _, row in sorted(rows.items())], ("device", "message_id")
        )

    def _announce(self, stream: int, seq: int) -> None:
        table = schema.stream
        more = update(table).where(table.c.id == stream, table.c.announced_seq < seq)
        self._connection.execute(more.values(announced_seq=seq))


def _as_json(news: News) -> str:
    return json.dumps(news.content.model_dump(mode="json", exclude_none=True), sort_keys=True)


def _result(result: Mapping[str, Any]) -> str:
    """A reply's result without what is too long for a row, such as a picture."""
    values = {name: json.dumps(value, sort_keys=True) for name, value in sorted(result.items())}
    short = {name: json.loads(value) for name, value in values.items() if len(value) <= _LONGEST_RESULT}
    return json.dumps(short)
