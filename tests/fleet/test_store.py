"""The store: each message once, counted where it belongs, and nothing half."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text

from edge_resad.fleet import database, schema
from edge_resad.fleet.database import opened
from edge_resad.fleet.reading import Arrival, refuse
from edge_resad.fleet.report import accounts, alerts, devices
from edge_resad.fleet.retention import retain
from edge_resad.fleet.settings import RetentionSection
from edge_resad.fleet.store import Receipt, Store, StoreAway
from tests.fleet.letters import JPEG, NOW_MS, Writer, reads
from tests.fleet.peers import CHECKOUT
from tests.postgres_server import Postgres

press = Writer()


def rows(engine: Engine, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        keys = list(table.primary_key.columns)
        picked = [table.c[name] for name in columns] or list(table.c)
        return [tuple(row) for row in connection.execute(select(*picked).order_by(*keys))]


def acknowledged(receipt: Receipt) -> dict[tuple[str, str], list[tuple[int, int]]]:
    return {(address.device, stream): list(said) for (address, stream), said in receipt.acknowledged.items()}


def test_what_is_stored_is_acknowledged_by_its_numbers(engine: Engine) -> None:
    other = Writer(device="press-2", stream_id="stream-b")
    receipt = Store(engine).add(
        reads(press.verdict(1), press.verdict(2), press.alert(3, "new"), other.verdict(7), press.verdict(9))
    )
    assert acknowledged(receipt) == {
        ("press-1", "stream-a"): [(1, 3), (9, 9)],
        ("press-2", "stream-b"): [(7, 7)],
    }
    assert (receipt.stored, receipt.duplicates, receipt.rejected) == (5, 0, 0)


def test_a_verdict_keeps_what_it_said(engine: Engine) -> None:
    Store(engine).add(reads(press.verdict(1, "fail", score=1.6), press.not_inspected(2)))
    shown = ("seq", "status", "severity", "score", "threshold", "regions", "frame_id", "latency_ms", "reason")
    assert rows(engine, schema.verdict, *shown) == [
        (1, "fail", "major", 1.6, 1.0, 1, 1, 12.5, None),
        (2, "not_inspected", None, None, None, None, 2, None, "black"),
    ]


def test_what_comes_again_is_absorbed_counted_and_acknowledged(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.verdict(1), press.alert(2, "new")))
    again = store.add(reads(press.verdict(1), press.alert(2, "new"), press.verdict(3), press.verdict(3)))
    assert acknowledged(again) == {("press-1", "stream-a"): [(1, 3)]}
    assert (again.stored, again.duplicates) == (1, 3)
    assert [row[0] for row in rows(engine, schema.verdict, "seq")] == [1, 3]
    assert rows(engine, schema.alert, "messages") == [(1,)]
    assert rows(engine, schema.hour, "parts", "passed") == [(2, 2)]


@pytest.mark.postgres
def test_what_a_missing_partition_refuses_is_not_acknowledged_and_stored_when_it_is_there(postgres: Postgres) -> None:
    part = "CREATE TABLE verdict_{0} PARTITION OF {1} FOR VALUES WITH (MODULUS 2, REMAINDER {0})"
    with opened(postgres.new_database(), writing=True) as engine:
        with engine.begin() as connection:
            for statement in (
                "CREATE TABLE parts (LIKE verdict INCLUDING ALL) PARTITION BY HASH (stream)",
                part.format(0, "parts"),
                "DROP TABLE verdict",
                "ALTER TABLE parts RENAME TO verdict",
            ):
                connection.execute(text(statement))
        store = Store(engine)
        batches = [
            reads(*(Writer(device=f"press-{number}", stream_id=f"stream-{number}").verdict(seq) for seq in (1, 2)))
            for number in range(8)
        ]

        def refused(batch: list[Any]) -> bool:
            try:
                receipt = store.add(batch)
            except StoreAway as away:
                return "no partition" in str(away)
            return bool(receipt.rejected)

        assert any(refused(batch) for batch in batches)
        assert rows(engine, schema.rejected, "seq") == []
        with engine.begin() as connection:
            connection.execute(text(part.format(1, "verdict")))
        for batch in batches:
            store.add(batch)
        assert len(rows(engine, schema.verdict, "seq")) == 16


def test_two_stores_on_one_database_absorb_each_others_duplicates(engine: Engine) -> None:
    one, two = Store(engine), Store(engine)
    one.add(reads(press.verdict(1), press.verdict(3)))
    receipt = two.add(reads(press.verdict(1), press.verdict(2), press.verdict(3)))
    assert (receipt.stored, receipt.duplicates) == (1, 2)
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.generated, account.stored, account.duplicates, account.missing) == (3, 3, 2, [])


def test_an_alert_is_one_row_whatever_the_order_of_its_messages(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.alert(5, "end", "minor")))
    store.add(reads(press.alert(3, "update", "critical"), press.alert(1, "new", "major", picture=True)))
    store.add(reads(press.picture(2, of=1)))
    with engine.connect() as connection:
        (alert,) = alerts(connection)
    assert (alert.severity, alert.worst, alert.open, alert.messages) == ("minor", "critical", False, 3)
    assert (alert.began_ms, alert.last_ms) == (NOW_MS + 1000, NOW_MS + 5000)
    assert alert.picture
    assert rows(engine, schema.thumbnail, "event", "jpeg") == [("stream-a-1", JPEG)]


def test_an_alert_that_ended_shows_the_score_of_its_worst_message(engine: Engine) -> None:
    Store(engine).add(
        reads(
            press.alert(1, "new", score=1.6),
            press.alert(2, "update", score=2.4),
            press.alert(3, "end", score=0.4),
            press.fault(4, "new", "black", alert_id="camera"),
            press.alert(5, "end", score=0.3, alert_id="remains"),
        )
    )
    with engine.connect() as connection:
        found = {alert.alert_id: (alert.score, alert.fault) for alert in alerts(connection)}
    assert found == {"a1": (2.4, None), "camera": (None, "black"), "remains": (0.3, None)}


def test_why_an_alert_ended_is_kept_where_it_is_not_known_to_be_over(engine: Engine) -> None:
    open_alert, fault = press.alert(1, "new", alert_id="killed"), press.fault(2, "new", "black", alert_id="camera")
    over = (press.alert(3, "new", alert_id="over"), press.alert(4, "end", alert_id="over", score=0.4))
    next_start = Writer(boot_id="boot-2")
    ends = (next_start.interrupted(5, open_alert), next_start.interrupted(6, fault))
    Store(engine).add(reads(*ends, open_alert, fault, *over))
    with engine.connect() as connection:
        found = {alert.alert_id: (alert.open, alert.reason) for alert in alerts(connection)}
    assert found == {"killed": (False, "interrupted"), "camera": (False, "interrupted"), "over": (False, None)}


@pytest.mark.parametrize("order", ["0123", "3210", "2301", "3012", "2130"])
def test_an_alert_goes_on_in_the_stream_that_took_the_place_of_its_first(tmp_path: Path, order: str) -> None:
    old, then = Writer(stream_id="zz"), Writer(stream_id="aa", wall=press.wall + 100)
    said = [
        old.alert(5, "new", "critical", alert_id="zz-5"),
        then.gap(1, ((9, 9),), previous="zz"),
        then.alert(2, "update", "minor", alert_id="zz-5"),
        then.alert(3, "update", "major", alert_id="zz-5"),
    ]
    for batches in ([[said[int(number)]] for number in order], [[said[int(number)] for number in order]]):
        url = f"sqlite:///{tmp_path / f'{len(batches)}.db'}"
        with opened(url, writing=True) as engine:
            store = Store(engine)
            for batch in batches:
                store.add(reads(*batch))
            with engine.connect() as connection:
                (alert,) = alerts(connection)
        assert (alert.severity, alert.worst, alert.messages) == ("major", "critical", 3)
        assert (alert.began_ms, alert.last_ms) == (NOW_MS + 5000, NOW_MS + 103_000)


def test_streams_that_claim_each_others_place_end_no_collector(engine: Engine) -> None:
    one, other = Writer(stream_id="aa"), Writer(stream_id="bb")
    Store(engine).add(
        reads(
            *(one.gap(1, (), previous="bb"), other.gap(1, (), previous="aa"), one.gap(2, (), previous="aa")),
            *(one.alert(3, "new"), other.alert(4, "end")),
        )
    )
    with engine.connect() as connection:
        assert [alert.open for alert in alerts(connection)] == [False]


def test_alerts_are_ranked_open_ones_first_then_the_worse_then_the_newer(engine: Engine) -> None:
    Store(engine).add(
        reads(
            press.alert(1, "new", "critical", alert_id="ended"),
            press.alert(2, "end", "critical", alert_id="ended"),
            press.alert(3, "new", "minor", alert_id="small"),
            press.alert(4, "new", "major", alert_id="older"),
            press.alert(5, "new", "major", alert_id="newer"),
            press.fault(6, "new", "black", alert_id="camera"),
        )
    )
    with engine.connect() as connection:
        ranked = alerts(connection)
        some = alerts(connection, most=10, only_open=True)
    assert [alert.alert_id for alert in ranked] == ["camera", "newer", "older", "small", "ended"]
    assert ranked[0].fault == "black"
    assert [alert.alert_id for alert in some] == ["camera", "newer", "older", "small"]


def test_a_number_that_never_came_is_missing_and_one_that_was_given_up_is_not(engine: Engine) -> None:
    Store(engine).add(reads(press.verdict(1), press.verdict(4), press.gap(5, ((2, 2),)), press.birth(2, live_from=9)))
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert account.missing == [(3, 3), (6, 8)]  # 8: the station said that it had written as far
    assert (account.generated, account.stored, account.given_up, account.lost) == (8, 3, 1, 4)


def test_a_gap_of_a_damaged_outbox_speaks_of_the_stream_before(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.verdict(1), press.verdict(5)))
    after = Writer(stream_id="stream-z")
    store.add(reads(after.gap(1, ((2, 4),), reason="corruption", previous="stream-a")))
    with engine.connect() as connection:
        old, new = accounts(connection)
    assert (old.stream_id, old.missing, old.given_up, old.damaged) == ("stream-a", [], 3, True)
    assert (new.stream_id, new.stored, new.missing) == ("stream-z", 1, [])


def test_what_cannot_be_read_is_kept_with_its_reason_and_acknowledged_where_it_can_be_named(engine: Engine) -> None:
    newer = json.loads(press.verdict(2).payload)
    newer["schemaversion"] = 99
    topic = press.address.verdict_topic("cam0")
    receipt = Store(engine).add(
        reads(
            press.verdict(1),
            Arrival(topic, json.dumps(newer).encode(), NOW_MS),
            Arrival(topic, b"\xff\x00 no JSON", NOW_MS, event_id="stream-a-3"),
            Arrival(topic, b"nothing is known of this one", NOW_MS),
            Arrival("er/v1/graz/l4/press-1/what", b"{}", NOW_MS),
        )
    )
    assert acknowledged(receipt) == {("press-1", "stream-a"): [(1, 3)]}
    assert (receipt.stored, receipt.rejected) == (3, 4)
    reasons = [row[0] for row in rows(engine, schema.rejected, "reason")]
    assert any("schema 99" in reason and "update the reader" in reason for reason in reasons)
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.missing) == (3, [])


def test_the_same_rubbish_is_one_row_however_often_it_comes(engine: Engine) -> None:
    rubbish = Arrival(press.address.gap_topic, b"\x00" * 10_000, NOW_MS)
    store = Store(engine)
    store.add(reads(rubbish, rubbish))
    store.add(reads(rubbish))
    ((times, size, kept),) = rows(engine, schema.rejected, "times", "payload_bytes", "payload")
    assert (times, size, len(kept)) == (3, 10_000, 4096)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "press-2"},
        {"frame_id": 10**30},
        {"stream_id": "no name\0"},
        {"boot_id": "x" * 65},
        {"wall_s": 1e300},
        {"seq": 2**60},
        {"reason": "a\0b"},
        {"reason": "half a character \ud800"},
        {"status": "\ud800"},
    ],
    ids=str,
)
def test_a_message_that_no_store_could_hold_stops_nothing(engine: Engine, change: dict[str, Any]) -> None:
    said = json.loads(press.not_inspected(2).payload)
    said["data"] |= change
    odd = Arrival(press.address.verdict_topic("cam0"), json.dumps(said).encode(), NOW_MS)
    receipt = Store(engine).add(reads(press.verdict(1), odd, press.verdict(3)))
    assert [row[0] for row in rows(engine, schema.verdict, "seq")] == [1, 3]
    assert receipt.rejected == 1


@pytest.mark.parametrize("product", ["half a character \ud800", None], ids=["no text", "nothing"])
def test_a_message_that_the_database_refuses_is_found_among_the_others(engine: Engine, product: str | None) -> None:
    batch = reads(*(press.verdict(seq) for seq in range(1, 8)))
    spoiled: Any = batch[4]
    object.__setattr__(spoiled.content, "product", product)
    receipt = Store(engine).add(batch)
    assert [row[0] for row in rows(engine, schema.verdict, "seq")] == [1, 2, 3, 4, 6, 7]
    assert receipt.rejected == 1
    assert acknowledged(receipt) == {("press-1", "stream-a"): [(1, 7)]}


def test_a_state_says_who_is_there_and_a_late_will_does_not(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.birth(2, waiting=7), press.offline(1)))
    with engine.connect() as connection:
        (status,) = devices(connection)
    assert (status.online, status.waiting, status.product, status.faults) == (True, 7, "bolt", {"cam0": []})
    store.add(reads(press.offline(2)))
    store.add(reads(press.birth(2, waiting=7)))  # retained: the broker hands it out again
    with engine.connect() as connection:
        (status,) = devices(connection)
    assert status.online is False


def test_a_new_outbox_takes_over_and_the_old_ones_will_says_nothing(engine: Engine) -> None:
    after = Writer(stream_id="stream-z")
    Store(engine).add(reads(press.birth(9), after.birth(1), press.offline(9)))
    with engine.connect() as connection:
        (status,) = devices(connection)
    assert status.online is True


def test_parts_are_counted_by_hour_station_and_product(engine: Engine) -> None:
    other = Writer(device="press-2", stream_id="stream-b")
    later = Writer(wall=press.wall + 7200)
    Store(engine).add(
        reads(
            press.verdict(1, score=0.55),
            press.verdict(2, "fail", score=1.6),
            press.verdict(3, product="nut"),
            press.not_inspected(4),
            other.verdict(1),
            later.verdict(5),
        )
    )
    hours = rows(engine, schema.hour, "device", "product", "parts", "passed", "failed", "not_inspected")
    assert sorted(hours) == [
        (1, "bolt", 1, 1, 0, 0),
        (1, "bolt", 3, 1, 1, 1),
        (1, "nut", 1, 1, 0, 0),
        (2, "bolt", 1, 1, 0, 0),
    ]
    assert sum(sum(row) for row in rows(engine, schema.hour, *schema.RATIO_BINS)) == 5  # all that have a score


def test_good_parts_are_not_kept_word_for_word_unless_that_is_wanted(engine: Engine) -> None:
    said = (press.verdict(1), press.verdict(2, "fail"), press.alert(3, "new"))
    Store(engine).add(reads(*said))
    assert rows(engine, schema.raw, "seq", "payload") == [(2, said[1].payload), (3, said[2].payload)]
    Store(engine, raw="all").add(reads(press.verdict(4)))
    Store(engine, raw="none").add(reads(press.verdict(5, "fail")))
    assert [row[0] for row in rows(engine, schema.raw, "seq")] == [2, 3, 4]


def test_a_transaction_that_fails_leaves_nothing_and_is_tried_again(engine: Engine) -> None:
    store = Store(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE verdict RENAME TO away"))
    with pytest.raises(StoreAway):
        store.add(reads(press.verdict(1), press.alert(2, "new"), press.birth(1)))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO verdict"))
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(schema.device)).scalar_one() == 0
    assert store.add(reads(press.verdict(1), press.alert(2, "new"), press.birth(1))).stored == 2


def test_telemetry_is_kept_once_and_wants_no_acknowledgement(engine: Engine) -> None:
    receipt = Store(engine).add(reads(press.telemetry(1), press.telemetry(1), press.telemetry(2)))
    assert (receipt.stored, receipt.rejected, receipt.acknowledged) == (0, 0, {})
    kept = rows(engine, schema.telemetry, "message_id", "payload")
    assert [(name, json.loads(payload)["load"]) for name, payload in kept] == [("t1", 0.5), ("t2", 0.5)]


def test_a_stations_new_place_is_known(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.verdict(1)))
    moved = json.loads(press.verdict(2).payload)
    store.add(reads(Arrival("er/v1/linz/l9/press-1/evt/cam0", json.dumps(moved).encode(), NOW_MS)))
    assert rows(engine, schema.device, "name", "site", "line") == [("press-1", "linz", "l9")]


def test_a_stream_of_another_station_with_the_same_name_is_another_one(engine: Engine) -> None:
    Store(engine).add(reads(press.verdict(1), Writer(device="press-2").verdict(1)))
    assert len(rows(engine, schema.verdict)) == 2


def test_a_sqlite_file_that_another_program_writes_stores_nothing_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0)
    file = tmp_path / "fleet.db"
    with database.opened(f"sqlite:///{file}", writing=True) as engine:
        store = Store(engine)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreAway, match="locked"):
                store.add(reads(press.verdict(1)))
            other.execute("ROLLBACK")
        assert store.add(reads(press.verdict(1))).stored == 1


@pytest.mark.postgres
def test_a_table_that_is_partitioned_as_the_page_says_takes_the_same_messages(postgres: Postgres) -> None:
    page = (CHECKOUT / "docs" / "fleet.md").read_text(encoding="utf-8")
    statements = page.split("```sql\n")[1].split("```")[0]
    with database.opened(postgres.new_database(), writing=True) as engine:
        with engine.begin() as connection:
            connection.execute(text(statements))
        store = Store(engine)
        store.add(reads(*(Writer(device=f"d{number}").verdict(1) for number in range(8))))
        receipt = store.add(reads(*(Writer(device=f"d{number}").verdict(1) for number in range(8))))
        assert (receipt.stored, receipt.duplicates) == (0, 8)
        assert len(rows(engine, schema.verdict)) == 8
        list(retain(engine, RetentionSection(), NOW_MS + 1000 * 86_400_000))
        assert rows(engine, schema.verdict) == []
        with engine.connect() as connection:
            assert [account.missing for account in accounts(connection)] == [[]] * 8


def restored(arrival: Arrival) -> Arrival:
    """Another message under the same number: the copied outbox goes on after the next start of the computer."""
    said = json.loads(arrival.payload)
    said["data"] |= {"boot_id": "boot-2", "mono_s": 7.0, "wall_s": said["data"]["wall_s"] + 5000}
    return replace(arrival, payload=json.dumps(said).encode())


def test_another_message_under_a_number_that_is_taken_is_no_duplicate(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.verdict(1), press.verdict(2), press.alert(3, "new"), press.gap(4, ((9, 9),))))
    others = [restored(press.verdict(2, "fail")), restored(press.alert(3, "new", "critical", alert_id="a2"))]
    others.append(restored(press.gap(4, ((8, 8),))))
    receipt = store.add(reads(*others, press.verdict(1)))
    assert acknowledged(receipt) == {("press-1", "stream-a"): [(1, 4)]}
    assert (receipt.stored, receipt.duplicates, receipt.rejected) == (0, 1, 0)
    assert dict(receipt.conflicts) == {(press.address, "stream-a"): 3}
    again = store.add(reads(*others))
    assert (again.stored, again.duplicates, again.rejected, sum(again.conflicts.values())) == (0, 3, 0, 0)
    assert rows(engine, schema.verdict, "seq", "status") == [(1, "pass"), (2, "pass")]
    assert rows(engine, schema.alert, "alert_id") == [("a1",)]
    assert rows(engine, schema.gap_range, "first_seq") == [(9,)]
    kept = rows(engine, schema.rejected, "seq", "payload", "conflict")
    assert {(seq, bytes(payload)) for seq, payload, conflict in kept if conflict} == {
        (seq, other.payload) for seq, other in zip((2, 3, 4), others, strict=True)
    }
    with engine.connect() as connection:
        (account,) = accounts(connection)
        assert (account.stored, account.duplicates, account.conflicts) == (4, 4, 3)
        assert [device.conflicts for device in devices(connection)] == [3]


@pytest.mark.parametrize("together", [True, False])
def test_two_kinds_of_message_with_one_number_are_two_messages(engine: Engine, together: bool) -> None:
    store = Store(engine)
    first, second = reads(press.verdict(1)), reads(restored(press.alert(1, "new")))
    receipts = [store.add(first + second)] if together else [store.add(first), store.add(second)]
    assert sum(sum(receipt.conflicts.values()) for receipt in receipts) == 1
    assert len(rows(engine, schema.verdict)) == 1
    assert rows(engine, schema.alert_message) == rows(engine, schema.alert) == []
    assert [len(rows(engine, table)) for table in (schema.raw, schema.rejected)] == [0, 1]


def test_a_message_may_follow_one_that_could_not_be_read_only_if_it_is_the_same(engine: Engine) -> None:
    store = Store(engine)
    said = press.alert(1, "new")
    store.add([refuse(said, "of a newer station", press.address)])
    assert sum(store.add(reads(restored(said))).conflicts.values()) == 1
    assert store.add(reads(said)).stored == 1
    assert len(rows(engine, schema.alert)) == 1


def test_what_comes_again_from_a_backlog_is_no_conflict_whatever_it_is(engine: Engine) -> None:
    store = Store(engine)
    said = [
        *(press.verdict(1), press.not_inspected(2), press.alert(3, "new", picture=True), press.picture(4, of=3)),
        *(press.gap(5, ((9, 9),)), press.alert(6, "end"), press.fault(7, "new", "black", alert_id="a2")),
    ]
    store.add(reads(*said[::2]))
    store.add(reads(*said))
    receipt = Store(engine).add(reads(*said[::-1]))
    assert (receipt.stored, receipt.duplicates, dict(receipt.conflicts)) == (0, 7, {})


def test_a_reply_is_kept_once_without_what_is_too_long(engine: Engine) -> None:
    store = Store(engine)
    picture = press.reply("k1", result={"size_bytes": 41873, "jpeg": "/9j/" * 2000})
    store.add(reads(press.reply("k1", "accepted"), picture, picture))
    store.add(reads(press.reply("k1", again=True, at_s=9)))
    shown = ("command_id", "status", "received_ms", "command", "sentence", "result")
    assert rows(engine, schema.reply, *shown) == [
        ("k1", "accepted", NOW_MS, "threshold", "It is 1.5.", None),
        ("k1", "done", NOW_MS, "threshold", "It is 1.5.", '{"size_bytes": 41873}'),
    ]


def test_reported_settings_are_kept_once_and_the_newest_are_those_of_the_station(engine: Engine) -> None:
    store = Store(engine)

    def settings() -> list[tuple[int | None, str | None]]:
        with engine.connect() as connection:
            return [(status.settings_version, status.settings_status) for status in devices(connection)]

    store.add(reads(press.reported(1)))
    assert settings() == [(None, None)]
    store.add(reads(press.reported(2, 4, "applied"), press.reported(3, 5, "refused")))
    store.add(reads(press.reported(2, 4, "applied")))  # retained: it comes again
    assert settings() == [(5, "refused")]
    shown = ("message_id", "version", "status", "refused", "settings")
    assert rows(engine, schema.reported, *shown) == [
        ("r1", None, None, "{}", '{"log.level": "info"}'),
        ("r2", 4, "applied", "{}", '{"log.level": "info"}'),
        ("r3", 5, "refused", '{"log.level": "is no level"}', '{"log.level": "info"}'),
    ]


def moved(arrival: Arrival) -> Arrival:
    """The same message from another line, to which its station was carried."""
    said = json.loads(arrival.payload)
    said["data"]["line"] = "l5"
    said["source"] = said["source"].replace("/l4/", "/l5/")
    return replace(arrival, topic=arrival.topic.replace("/l4/", "/l5/"), payload=json.dumps(said).encode())


def test_conflicts_of_a_station_that_speaks_from_two_lines_are_each_counted_once(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.verdict(1), press.verdict(2)))
    receipt = store.add(reads(restored(press.verdict(1)), moved(restored(press.verdict(2)))))
    assert (receipt.stored, receipt.duplicates, receipt.conflicts.total()) == (0, 0, 2)
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.duplicates, account.conflicts) == (2, 0, 2)
