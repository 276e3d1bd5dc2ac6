"""A collector's day without its broker: `python -m tests.fleet.upkeep URL` stores, rereads, dates, settles, looks at
its clock and removes.

The store is that of `prepare`. Killed anywhere and begun again it ends as if it had not been killed: the messages come
again, as stations send them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, TypeAlias

from sqlalchemy import Engine, select

from edge_resad.fleet import backdating, receipts, rereading, retention, schema
from edge_resad.fleet.database import opened
from edge_resad.fleet.doubt import look_at_clock
from edge_resad.fleet.reading import Arrival, refuse
from edge_resad.fleet.settings import RetentionSection
from edge_resad.fleet.store import Store
from tests.fleet.letters import NOW_MS, NOW_S, Writer, reads

DAY_MS = 86_400_000
OLD_DAYS = RetentionSection(passed_days=1, verdict_days=2, alert_days=2, thumbnail_days=1, raw_days=1, rejected_rows=3)
LATER_MS = NOW_MS + int(1.5 * DAY_MS)
undated = Writer(wall=30.0, mono=30.0, synced=False)  # 1970
dated = Writer(wall=NOW_S - 7200, mono=30.0)  # the same boot session, once its clock is right
Contents: TypeAlias = "dict[str, list[dict[str, Any]]]"
_MAY_DIFFER = {"duplicates", "times", "seen_ms"}  # how often the same came; when it did last, which is noted seldom


def prepare(engine: Engine) -> None:
    """What an older collector left: messages that it could not read, rubbish, parts without a date, and what came while
    its own clock was not set.
    """
    store = Store(engine, raw="all")
    store.add(reads(*(undated.verdict(seq, "fail" if seq % 3 == 0 else "pass") for seq in range(1, 9))))
    store.add(reads(undated.alert(9, "new", picture=True), undated.picture(10, of=9), undated.alert(11, "end")))
    store.add(reads(undated.audit(12, "k1"), undated.gap(13, ((40, 41),))))
    newer = (undated.verdict(14), undated.verdict(15, "fail"), undated.alert(16, "new", alert_id="a2"))
    store.add([refuse(arrival, "of a newer station", undated.address) for arrival in newer])
    rubbish = (Arrival(undated.address.gap_topic, b"rubbish %d" % number, NOW_MS + number) for number in range(9))
    store.add(reads(*rubbish))
    early = Writer(device="press-2", stream_id="stream-2", boot_id="boot-2", wall=20.0, mono=20.0, synced=False)
    before = (*(early.verdict(seq, "fail" if seq == 3 else "pass") for seq in range(1, 6)), early.alert(6, "new"))
    store.add(reads(*(replace(arrival, received_ms=1000 * seq) for seq, arrival in enumerate(before))))


def work(engine: Engine) -> None:
    """What a collector does between two starts."""
    # Rows of one transaction, so that there are many.
    rereading._CHUNK = backdating._CHUNK = retention._CHUNK = receipts._CHUNK = 2
    retention._SETTLED = 4
    store = Store(engine, raw="all")
    rereading.reread(engine, store)
    store.add(reads(dated.verdict(17), dated.verdict(18, "fail")))
    store.add(reads(dated.verdict(19)))
    list(backdating.backdate(engine))
    list(retention.settle_streams(engine))
    look_at_clock(engine, LATER_MS, 0)
    list(receipts.date_receipts(engine, LATER_MS))
    list(retention.retain(engine, OLD_DAYS, LATER_MS))


def contents(engine: Engine) -> Contents:
    """Every row of every table, but for how often the same came and when, and for what is settled already."""
    tables = [table for table in schema.metadata.sorted_tables if table is not schema.settled]
    with engine.connect() as connection:
        found = {table.name: connection.execute(select(table)).mappings().all() for table in tables}
    return {name: sorted((_comparable(dict(row)) for row in rows), key=repr) for name, rows in found.items()}


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 9) if isinstance(value, float) else value
        for name, value in row.items()
        if name not in _MAY_DIFFER
    }


if __name__ == "__main__":
    with opened(sys.argv[1], writing=True) as engine:
        work(engine)
