"""Retention: what is too old goes, counts stay, and what was stored does not turn into what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.crash_points import EXIT_CODE
from edge_resad.fleet.database import opened
from edge_resad.fleet.reading import Arrival, refuse
from edge_resad.fleet.report import accounts, alerts
from edge_resad.fleet.rereading import reread
from edge_resad.fleet.retention import forecast, retain, rules, used_bytes
from edge_resad.fleet.settings import RetentionSection
from edge_resad.fleet.store import Store
from tests.fleet.letters import NOW_MS, Writer, reads
from tests.fleet.peers import CHECKOUT
from tests.mqtt_peers import eventually

DAY_MS = 86_400_000
press = Writer()
short = RetentionSection(passed_days=1, verdict_days=2, alert_days=3, thumbnail_days=2, raw_days=2, state_days=1)


def number(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def used(engine: Engine) -> int:
    with engine.connect() as connection:
        return used_bytes(connection)


def fill(engine: Engine) -> None:
    """Seven letters: two good parts, two others, an alert of two messages, a picture."""
    Store(engine).add(
        reads(
            press.verdict(1),
            press.verdict(2, "fail"),
            press.alert(3, "new", picture=True),
            press.picture(4, of=3),
            press.alert(5, "end"),
            press.verdict(6),
            press.not_inspected(7),
            press.birth(1),
            press.birth(1, again=1),
        )
    )


def test_good_parts_go_first_alerts_last_and_counts_never(engine: Engine) -> None:
    fill(engine)
    list(retain(engine, short, NOW_MS + int(1.5 * DAY_MS)))
    assert (number(engine, schema.verdict), number(engine, schema.thumbnail)) == (2, 1)
    list(retain(engine, short, NOW_MS + int(2.5 * DAY_MS)))
    assert (number(engine, schema.verdict), number(engine, schema.thumbnail), number(engine, schema.raw)) == (0, 0, 0)
    with engine.connect() as connection:
        assert len(alerts(connection)) == 1
    list(retain(engine, short, NOW_MS + int(3.5 * DAY_MS)))
    assert (number(engine, schema.alert), number(engine, schema.alert_message)) == (0, 0)
    with engine.connect() as connection:
        (counts,) = connection.execute(select(schema.hour.c.parts, schema.hour.c.failed)).all()
    assert tuple(counts) == (4, 1)


def test_what_was_stored_and_removed_is_not_missing(engine: Engine) -> None:
    fill(engine)
    for days in (1, 2, 3, 4):
        list(retain(engine, short, NOW_MS + days * DAY_MS + DAY_MS // 2))
        with engine.connect() as connection:
            (account,) = accounts(connection)
        assert (account.generated, account.stored, account.missing) == (7, 7, []), days
    Store(engine).add(reads(press.verdict(10)))
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.missing) == (8, [(8, 9)])


def test_what_comes_again_after_it_was_removed_is_counted_once(engine: Engine) -> None:
    fill(engine)
    list(retain(engine, short, NOW_MS + int(1.5 * DAY_MS)))
    receipt = Store(engine).add(reads(press.verdict(1), press.verdict(2, "fail"), press.verdict(6), press.verdict(8)))
    assert (receipt.stored, receipt.duplicates) == (1, 3)
    with engine.connect() as connection:
        ((parts, passed),) = connection.execute(select(schema.hour.c.parts, schema.hour.c.passed)).all()
        (account,) = accounts(connection)
    assert (parts, passed) == (5, 3)
    assert (account.stored, account.duplicates, account.missing) == (8, 3, [])


def test_an_alert_of_which_a_message_comes_again_after_it_was_removed_does_not_begin_anew(engine: Engine) -> None:
    fill(engine)
    list(retain(engine, short, NOW_MS + int(3.5 * DAY_MS)))
    said = reads(press.alert(3, "new", picture=True), press.alert(8, "new", alert_id="a2"))
    receipt = Store(engine).add(said)
    assert (receipt.stored, receipt.duplicates) == (1, 1)
    assert list(receipt.acknowledged.values()) == [((3, 3), (8, 8))]
    with engine.connect() as connection:
        assert [alert.alert_id for alert in alerts(connection)] == ["a2"]
        (account,) = accounts(connection)
    assert number(engine, schema.alert_message) == 1
    assert (account.stored, account.missing) == (8, [])


def test_what_was_set_aside_and_settled_is_new_when_it_can_be_read(engine: Engine) -> None:
    store = Store(engine)
    store.add([refuse(press.verdict(number), "of a newer station", press.address) for number in (1, 3)])
    store.add(reads(press.verdict(2)))
    list(retain(engine, short, NOW_MS + int(1.5 * DAY_MS)))  # the good part goes; its neighbours are settled with it
    store.add(reads(*(press.verdict(number) for number in (4, 5))))
    list(retain(engine, short, NOW_MS + int(1.5 * DAY_MS)))
    assert reread(engine, store) == 2
    with engine.connect() as connection:
        assert connection.execute(select(schema.hour.c.parts)).scalar_one() == 5


def test_an_open_alert_and_a_stations_newest_state_stay(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.alert(1, "new"), press.birth(1), press.birth(2)))
    list(retain(engine, short, NOW_MS + 100 * DAY_MS))
    with engine.connect() as connection:
        assert [alert.open for alert in alerts(connection)] == [True]
        assert list(connection.execute(select(schema.state.c.bd_seq)).scalars()) == [2]


def test_replies_go_with_commands_and_the_settings_that_a_station_reported_last_stay(engine: Engine) -> None:
    Store(engine).add(
        reads(press.reply("k1"), press.audit(1, "k1"), press.reported(1, 1, "applied"), press.reported(2, 2, "applied"))
    )
    list(retain(engine, short, NOW_MS + int(2.5 * DAY_MS)))
    assert (number(engine, schema.command), number(engine, schema.reply)) == (1, 1)
    list(retain(engine, short, NOW_MS + 100 * DAY_MS))
    assert (number(engine, schema.command), number(engine, schema.reply)) == (0, 0)
    with engine.connect() as connection:
        assert list(connection.execute(select(schema.reported.c.version)).scalars()) == [2]


def test_a_dry_run_says_what_would_go_and_removes_nothing(engine: Engine) -> None:
    fill(engine)
    told = {what: rows for what, _, rows in forecast(engine, short, NOW_MS + int(1.5 * DAY_MS))}
    assert told["verdicts of good parts"] == 2
    assert told["alerts"] == 0
    assert number(engine, schema.verdict) == 4


def test_too_much_goes_by_size_the_oldest_first_and_alerts_stay(engine: Engine) -> None:
    store = Store(engine, raw="all")
    for first in range(1, 4001, 500):
        store.add(reads(*(press.verdict(seq) for seq in range(first, first + 500))))
    store.add(reads(press.alert(4001, "new"), press.verdict(4002, "fail")))
    assert eventually(lambda: used(engine) > 1_000_000)  # PostgreSQL counts its rows a little later
    list(retain(engine, RetentionSection(max_mb=1), NOW_MS))
    with engine.connect() as connection:
        assert connection.execute(select(func.min(schema.verdict.c.seq))).scalar_one() > 0
        assert len(alerts(connection)) == 1
        (account,) = accounts(connection)
    if engine.dialect.name == "sqlite":
        assert used(engine) <= 1_000_000
    assert number(engine, schema.raw) < 4002
    assert (account.stored, account.missing) == (4002, [])


def test_what_came_while_the_clock_was_not_set_is_not_the_oldest_where_there_is_too_much(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'fleet.db'}", writing=True) as engine:
        store = Store(engine, raw="all")
        for first in range(1, 4001, 500):
            store.add(reads(*(press.verdict(seq) for seq in range(first, first + 500))))
        store.add(reads(*(replace(press.verdict(seq), received_ms=seq) for seq in range(4001, 4011))))
        list(retain(engine, RetentionSection(max_mb=1), None))
        assert used(engine) <= 1_000_000
        with engine.connect() as connection:
            kept = set(connection.execute(select(schema.raw.c.seq)).scalars())
        assert kept >= set(range(4001, 4011))


def test_of_what_can_be_neither_read_nor_placed_only_so_much_is_kept(engine: Engine) -> None:
    store = Store(engine)
    for number_of_it in range(1, 9):
        store.add(reads(Arrival(press.address.gap_topic, b"rubbish %d" % number_of_it, NOW_MS)))
    list(retain(engine, RetentionSection(rejected_rows=3), NOW_MS))
    assert number(engine, schema.rejected) == 3


def test_rubbish_of_another_station_throws_no_message_out_that_may_be_read_later(engine: Engine) -> None:
    store = Store(engine)
    store.add([refuse(press.alert(1, "new"), "of a newer station", press.address)])
    other = Writer(device="press-9").address.verdict_topic("cam0")
    for first in range(0, 6000, 500):
        store.add(reads(*(Arrival(other, b"rubbish %d" % (first + more), NOW_MS + 5000) for more in range(500))))
    list(retain(engine, RetentionSection(rejected_rows=10), NOW_MS + 10_000))
    assert number(engine, schema.rejected) == 10
    assert reread(engine, store) == 1
    assert number(engine, schema.alert) == 1


def test_what_was_set_aside_with_its_number_goes_with_the_alerts_and_is_not_missing(engine: Engine) -> None:
    store = Store(engine)
    store.add([refuse(press.alert(1, "new"), "of a newer station", press.address)])
    list(retain(engine, short, NOW_MS + int(2.9 * DAY_MS)))
    assert number(engine, schema.rejected) == 1
    list(retain(engine, short, NOW_MS + int(3.1 * DAY_MS)))
    assert number(engine, schema.rejected) == 0
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.missing) == (1, [])


def test_old_good_parts_are_found_without_a_look_at_the_failed_ones(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'fleet.db'}", writing=True) as engine, engine.connect() as connection:
        for what, index in (("verdicts of good parts", "verdict_passed"), ("other verdicts", "verdict_others")):
            (rule,) = (rule for rule in rules(short) if rule.what == what)
            oldest = select(schema.verdict.c.seq).where(rule.too_old(NOW_MS)).order_by(schema.verdict.c.received_ms)
            asked = str(oldest.compile(engine, compile_kwargs={"literal_binds": True}))
            (plan,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}")
            assert f"SEARCH verdict USING INDEX {index} (received_ms>? AND received_ms<?)" in plan.detail


def test_a_collector_that_dies_while_it_removes_has_removed_nothing_half(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with opened(url, writing=True) as engine:
        fill(engine)
    script = (
        "from tests.fleet.test_retention import *\n"
        f"with opened({url!r}, writing=True) as engine: list(retain(engine, short, NOW_MS + 10 * DAY_MS))"
    )
    environment = {**os.environ, "EDGE_RESAD_CRASH_AT": "in-retention:2"}
    died = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, timeout=60
    )
    assert died.returncode == EXIT_CODE, died.stderr
    with opened(url, writing=True) as engine:
        with engine.connect() as connection:
            (account,) = accounts(connection)
        assert (account.stored, account.missing) == (7, [])
        list(retain(engine, short, NOW_MS + 10 * DAY_MS))
        with engine.connect() as connection:
            (account,) = accounts(connection)
        assert (account.stored, account.missing) == (7, [])
