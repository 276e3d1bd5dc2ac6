"""The store's tables, the same on SQLite and PostgreSQL. Times are whole milliseconds since 1970, UTC.

No table refers to another by a foreign key: rows come by the thousand, and what they point at is written before them in
the same transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.types import TypeEngine

RATIO_EDGES = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.5)
"""Score divided by threshold: where one bin of the counts per hour ends and the next begins."""
RATIO_BINS = tuple(f"ratio_{number:02d}" for number in range(len(RATIO_EDGES) + 1))

SEVERITIES = {"minor": 1, "major": 2, "critical": 3}
"""As numbers, so that the worst is the largest."""

metadata = MetaData()


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _needed(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _letter_key() -> tuple[Column[int], Column[int]]:
    return (
        Column("stream", Integer, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
    )


def _when() -> tuple[Column[Any], ...]:
    """boot: whose `mono_ms` it is. at_ms: the best estimate of when it happened. at_quality: synced, backdated,
    unsure (a clock of which nobody knows whether it is right) or received (the time of receipt, for want of better).
    """
    return (
        _needed("boot", Integer),
        _needed("received_ms", BigInteger),
        _needed("at_ms", BigInteger),
        _needed("at_quality", Text),
        _needed("wall_ms", BigInteger),
        _needed("mono_ms", BigInteger),
    )


device = Table(
    "device",
    metadata,
    Column("id", Integer, primary_key=True),
    _needed("name", Text),
    _needed("site", Text),
    _needed("line", Text),
    _needed("first_ms", BigInteger),
    _needed("seen_ms", BigInteger),
    Column("online", Boolean),  # null: it has not said yet
    Column("state_ms", BigInteger),
    Column("state_stream", Text),
    Column("bd_seq", BigInteger),
    Column("version", Text),
    Column("bundle", Text),
    Column("product", Text),
    Column("waiting", BigInteger),
    Column("dropped", BigInteger),
    Column("dead", BigInteger),  # messages that its broker will never take
    Column("faults", Text),  # JSON: camera -> what is wrong with it
    UniqueConstraint("name", name="device_name"),
)

stream = Table(
    "stream",
    metadata,
    Column("id", Integer, primary_key=True),
    _needed("device", Integer),
    _needed("stream_id", Text),
    _needed("first_ms", BigInteger),
    _needed("seen_ms", BigInteger),
    _count("max_seq"),  # the largest that came
    _count("announced_seq"),  # the station said of itself that it wrote as far as this
    _count("stored"),
    _count("duplicates"),  # came again and were absorbed
    _count("conflicts"),  # were others than what is stored under their numbers; they are in `rejected`
    Column("replaced_by", Text),  # the station's next stream, where this one was damaged
    UniqueConstraint("device", "stream_id", name="stream_of_device"),
)

boot = Table(
    "boot",
    metadata,
    Column("id", Integer, primary_key=True),
    _needed("device", Integer),
    _needed("boot_id", Text),
    _needed("first_ms", BigInteger),
    Column("offset_ms", BigInteger),  # wall clock minus monotonic clock, once the station's clock is synchronised
    Column("pending", Boolean, nullable=False, server_default=text("false")),  # rows wait for `offset_ms`
    UniqueConstraint("device", "boot_id", name="boot_of_device"),
)

verdict = Table(
    "verdict",
    metadata,
    *_letter_key(),
    *_when(),
    _needed("device", Integer),
    _needed("camera", Text),
    _needed("product", Text),
    Column("product_version", BigInteger),
    _needed("status", Text),  # pass, fail, not_inspected
    Column("severity", Text),
    Column("score", Float(53)),
    Column("threshold", Float(53)),
    Column("regions", BigInteger),
    _needed("frame_id", BigInteger),
    Column("latency_ms", REAL),
    Column("reason", Text),  # why it was not inspected
    sqlite_with_rowid=False,
)

alert_message = Table(
    "alert_message",
    metadata,
    *_letter_key(),
    *_when(),
    _needed("device", Integer),
    _needed("alert_id", Text),
    _needed("phase", Text),
    _needed("severity", Text),
    _needed("camera", Text),
    _needed("product", Text),
    Column("product_version", BigInteger),
    Column("score", Float(53)),
    Column("threshold", Float(53)),
    Column("fault", Text),
    Column("reason", Text),  # why it ends, where it is not known to be over
    Column("image_event", Text),  # `event` of its thumbnail
    sqlite_with_rowid=False,
)

alert = Table(
    "alert",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("alert_id", Text, primary_key=True),
    _needed("first_stream", Integer),  # its first message, and below its last: keys of `alert_message`
    _needed("first_seq", BigInteger),
    _needed("last_stream", Integer),
    _needed("last_seq", BigInteger),
    _needed("severity", Integer),  # 1 minor, 2 major, 3 critical; as its last message says
    _needed("worst", Integer),
    _needed("open", Boolean),  # no message with the phase `end` has come
    _needed("received_ms", BigInteger),  # the last of them
    _count("messages"),
)

thumbnail = Table(
    "thumbnail",
    metadata,
    *_letter_key(),
    *_when(),
    _needed("device", Integer),
    _needed("event", Text),
    _needed("jpeg", LargeBinary),
)

gap = Table(
    "gap",
    metadata,
    *_letter_key(),
    *_when(),
    _needed("of_stream", Integer),  # the stream that it speaks of
    _needed("reason", Text),
    _needed("counts", Text),  # JSON: kind -> how many
)

command = Table(
    "command",
    metadata,
    *_letter_key(),
    *_when(),
    _needed("device", Integer),
    _needed("command_id", Text),
    _needed("command", Text),
    _needed("arguments", Text),  # JSON
    _needed("issued_by", Text),
    Column("role", Text),  # whose key signed it
    _needed("status", Text),
    Column("sentence", Text),
    sqlite_with_rowid=False,
)

reply = Table(
    "reply",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("command_id", Text, primary_key=True),
    Column("status", Text, primary_key=True),  # `accepted` may come before another
    _needed("received_ms", BigInteger),
    _needed("command", Text),
    Column("sentence", Text),
    Column("result", Text),  # JSON; without what is too long, such as a picture
    sqlite_with_rowid=False,
)

reported = Table(
    "reported",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("message_id", Text, primary_key=True),
    _needed("received_ms", BigInteger),
    Column("version", BigInteger),  # of the wish that this answers; null before the first
    Column("status", Text),
    Column("sentence", Text),
    _needed("refused", Text),  # JSON: setting -> what is wrong with it
    _needed("settings", Text),  # JSON: what holds
)

gap_range = Table(
    "gap_range",
    metadata,
    Column("of_stream", Integer, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

raw = Table(
    "raw",
    metadata,
    *_letter_key(),
    _needed("received_ms", BigInteger),
    _needed("topic", Text),
    _needed("payload", LargeBinary),
)

state = Table(
    "state",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("message_id", Text, primary_key=True),
    _needed("received_ms", BigInteger),
    _needed("stream_id", Text),
    _needed("bd_seq", BigInteger),
    _needed("online", Boolean),
    _needed("payload", Text),  # JSON
)

telemetry = Table(
    "telemetry",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("message_id", Text, primary_key=True),
    _needed("received_ms", BigInteger),
    _needed("payload", Text),  # JSON
)

rejected = Table(
    "rejected",
    metadata,
    Column("digest", Text, primary_key=True),  # sha256 of topic and payload
    Column("stream", Integer),  # and `seq`: where at least this much could be read
    Column("seq", BigInteger),
    _needed("first_ms", BigInteger),
    _needed("received_ms", BigInteger),
    _needed("times", BigInteger),
    _needed("topic", Text),
    _needed("reason", Text),
    _needed("payload", LargeBinary),  # its beginning
    _needed("payload_bytes", BigInteger),  # how long it was
    Column("conflict", Boolean, nullable=False, server_default=text("false")),  # its number is another message's
    Column("device", Integer),  # null: its topic names no station
)

dropped = Table(
    "dropped",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),  # 0: nobody known
    _count("messages"),  # of `rejected` that went for want of room, each as often as it came
)

settled = Table(
    "settled",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
    _needed("last_seq", BigInteger),  # all from `first_seq` to here were stored, though retention removed some since
    sqlite_with_rowid=False,
)

hour = Table(
    "hour",
    metadata,
    Column("hour_ms", BigInteger, primary_key=True, autoincrement=False),  # when it began
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("product", Text, primary_key=True),
    _count("parts"),
    _count("passed"),
    _count("failed"),
    _count("not_inspected"),
    Column("ratio_sum", Float(53), nullable=False, server_default=text("0")),  # of score divided by threshold
    *(_count(name) for name in RATIO_BINS),
    sqlite_with_rowid=False,
)

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: there is one row
    _needed("trusted_ms", BigInteger),  # the newest time by which retention was allowed to go
    Column("doubted_ms", BigInteger),  # what a clock said since that is too far ahead of it; null: none did
    _count("waited_ms"),  # how long collectors have run with such a clock
)

DATED = (verdict, alert_message, thumbnail, gap, command)
"""Tables with `at_ms`."""
LETTERS = (verdict, alert_message, thumbnail, gap, command)
"""Tables that hold messages of a stream, each message in one of them; beside them some are in `rejected`."""

IS_PASS = verdict.c.status == literal_column("'pass'")
IS_NOT_PASS = verdict.c.status != literal_column("'pass'")
"""As literals: only so does a database see that the index of these rows will do."""

for _table in (alert_message, alert, thumbnail, gap, command, reply, raw, state, reported, telemetry, rejected):
    Index(f"{_table.name}_received", _table.c.received_ms)
for _table in DATED:
    _undated = _table.c.at_quality.in_(("unsure", "received"))
    Index(f"{_table.name}_undated", _table.c.boot, sqlite_where=_undated, postgresql_where=_undated)
Index("verdict_passed", verdict.c.received_ms, sqlite_where=IS_PASS, postgresql_where=IS_PASS)
Index("verdict_others", verdict.c.received_ms, sqlite_where=IS_NOT_PASS, postgresql_where=IS_NOT_PASS)
Index("command_of_device", command.c.device, command.c.command_id)
Index("verdict_at", verdict.c.device, verdict.c.at_ms)
Index("alert_message_of_alert", alert_message.c.device, alert_message.c.alert_id)
Index("alert_open", alert.c.open, alert.c.severity)
Index("thumbnail_event", thumbnail.c.event)
Index("rejected_letter", rejected.c.stream, rejected.c.seq)
Index("rejected_of_device", rejected.c.device, rejected.c.received_ms)
