"""`edge-resad fleet VERB` on a store with something in it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_resad.cli import app
from edge_resad.errors import SettingsError, StoreError
from edge_resad.fleet.database import opened
from edge_resad.fleet.doubt import trust_clock
from edge_resad.fleet.store import Store
from tests.fleet.letters import Writer, reads

press = Writer()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text('[broker]\nhost = "nobody"\n')
    return path


def fill(config: Path) -> None:
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(
            reads(
                press.birth(2, live_from=9, waiting=5),
                press.verdict(1),
                press.alert(2, "new", "critical", alert_id="worst"),
                press.alert(3, "new", "minor", alert_id="least"),
                press.alert(4, "end", "minor", alert_id="least"),
                press.verdict(7),
                Writer(device="press-2", stream_id="stream-b", synced=False, wall=5.0).fault(
                    1, "new", "black", alert_id="camera"
                ),
                Writer(device="press-2", stream_id="stream-b").offline(1),
                press.arrival(press.address.gap_topic, b"rubbish", 9),
            )
        )


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["fleet", *words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def test_a_store_is_made_and_named(config: Path) -> None:
    assert run("migrate", str(config)) == f"sqlite:///{config.parent}/fleet.db: revision 0006\n"
    assert "no station has said anything yet" in run("status", str(config))
    assert run("alerts", str(config)) == "no alerts\n"
    assert run("gaps", str(config)) == "nothing is missing\n"
    assert run("dedupe", str(config)) == "generated 0 stored 0 lost 0 duplicates 0\n"


def test_stations_that_are_away_come_first(config: Path) -> None:
    fill(config)
    first, second = run("status", str(config)).splitlines()
    assert first.startswith("OFFLINE graz/l4/press-2  seen ")
    assert second.startswith("online  graz/l4/press-1  bolt  seen ")
    assert second.endswith("5 waiting, 3 missing, 1 set aside, 1 open alerts")
    told = json.loads(run("status", str(config), "--json"))
    assert [(device["device"], device["missing"]) for device in told] == [("press-2", 0), ("press-1", 3)]


def test_messages_that_a_stations_broker_will_never_take_are_said_with_where_to_look(config: Path) -> None:
    older = Writer(device="press-2", stream_id="stream-b")
    birth = older.birth(1)
    before = replace(birth, payload=birth.payload.replace(b'"dead":0,', b""))  # of a version that did not know it
    assert before.payload != birth.payload
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(reads(press.birth(1, waiting=2, dead=3), before))
    done = CliRunner().invoke(app, ["fleet", "status", str(config)])
    first, second = done.stdout.splitlines()
    assert first.endswith(" ago, 2 waiting, 3 DEAD")
    assert second.endswith(" ago")
    assert "edge-resad spool dead says which and why" in done.stderr
    assert [device["dead"] for device in json.loads(run("status", str(config), "--json"))] == [3, 0]


def test_what_was_dropped_of_what_cannot_be_read_is_counted_in_the_status(config: Path) -> None:
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        flood = (press.arrival(press.address.gap_topic, b"rubbish %d" % number, number) for number in range(1, 10))
        Store(engine, rejected_rows_of_device=2).add(reads(*flood))
    done = CliRunner().invoke(app, ["fleet", "status", str(config)])
    assert done.stdout.endswith(" ago, 7 missing, 2 set aside, 7 more DROPPED\n")
    assert "7 messages that were set aside are dropped" in done.stderr


def test_alerts_are_shown_by_rank_with_their_doubt(config: Path) -> None:
    fill(config)
    lines = run("alerts", str(config)).splitlines()
    assert [line.split()[-1] for line in lines] == ["worst", "camera", "least"]
    assert lines[1].startswith("open  critical 2026-09-21 14:13:21 (clock unsure)  graz/l4/press-2 cam0 bolt  black")
    assert "score 1.60 of 1.00" in lines[0]
    assert lines[2].startswith("ended minor    2026-09-21 14:13:23  graz")
    assert len(run("alerts", str(config), "--open").splitlines()) == 2
    assert [alert["alert_id"] for alert in json.loads(run("alerts", str(config), "--json", "--most", "1"))] == ["worst"]


def test_an_alert_that_a_killed_station_left_open_is_shown_as_interrupted(config: Path) -> None:
    killed = press.alert(1, "new", "critical", alert_id="killed")
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(reads(killed, Writer(boot_id="boot-2").interrupted(2, killed)))
    (line,) = run("alerts", str(config)).splitlines()
    assert line.startswith("ended critical ")
    assert line.endswith("  score 1.60 of 1.00, interrupted  killed")
    assert [alert["reason"] for alert in json.loads(run("alerts", str(config), "--json"))] == ["interrupted"]


def test_who_asked_what_and_how_it_ended_is_a_table(config: Path) -> None:
    run("migrate", str(config))
    assert run("audits", str(config)) == "no commands\n"
    other = Writer(device="p2", stream_id="stream-b", synced=False, wall=5.0)
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(
            reads(
                press.audit(1, "k1"),
                other.audit(5, "k2", "refused", by="bert", role=None),
                press.reply("k3", "accepted", at_s=9, sentence="It is on\x1b[2J its way."),
            )
        )
    assert run("audits", str(config)).splitlines() == [
        "when, UTC              station          who              what                 how it ended",
        "2026-09-21 14:13:29 ?  graz/l4/press-1  unknown          threshold            accepted: It is on?[2J its way.",
        "2026-09-21 14:13:25 ?  graz/l4/p2       bert             threshold value=1.5  refused: It is 1.5.",
        "2026-09-21 14:13:21    graz/l4/press-1  anna (engineer)  threshold value=1.5  done: It is 1.5.",
    ]
    assert len(run("audits", str(config), "--device", "p2").splitlines()) == 2
    told = json.loads(run("audits", str(config), "--most", "2", "--json"))
    assert [(account["command_id"], account["arguments"]) for account in told] == [("k3", None), ("k2", {"value": 1.5})]


def test_commands_of_the_last_while_are_told_by_their_age(config: Path) -> None:
    now = Writer(wall=time.time() - 7200, mono=0.0)
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(reads(replace(now.audit(1, "k1"), received_ms=time.time_ns() // 1_000_000)))
    assert run("audits", str(config), "--since", "30min") == "no commands\n"
    assert len(run("audits", str(config), "--since", "1d").splitlines()) == 2
    done = CliRunner().invoke(app, ["fleet", "audits", str(config), "--since", "yesterday"])
    assert done.exit_code == 2
    assert "is no time" in done.output


def test_the_version_of_settings_that_a_station_reported_is_in_its_status(config: Path) -> None:
    other = Writer(device="press-2", stream_id="stream-b")
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(
            reads(press.birth(1), press.reported(1, 4, "applied"), other.birth(1), other.reported(1, 5, "refused"))
        )
    first, second = run("status", str(config)).splitlines()
    assert first.endswith(" ago, settings version 4")
    assert second.endswith(" ago, settings version 5 REFUSED")
    told = json.loads(run("status", str(config), "--json"))
    assert [(device["settings_version"], device["settings_status"]) for device in told] == [
        (4, "applied"),
        (5, "refused"),
    ]


def test_what_is_missing_is_shown_and_is_an_exit_code(config: Path) -> None:
    fill(config)
    assert run("gaps", str(config)) == "press-1  stream-a  3 missing: 5-6, 8\n"
    assert run("dedupe", str(config), "--device", "press-2") == (
        "press-2  stream-b  generated 1  stored 1  duplicates 0  given up 0  missing 0\n"
        "generated 1 stored 1 lost 0 duplicates 0\n"
    )
    assert run("dedupe", str(config), code=1).endswith("lost 3 duplicates 0\n")
    told = json.loads(run("dedupe", str(config), "--json", code=1).splitlines()[0])
    assert [account["missing"] for account in told] == [[[5, 6], [8, 8]], []]


def test_what_was_given_up_is_shown_with_its_reason_and_its_kinds(config: Path) -> None:
    fill(config)
    assert run("gaps", str(config), "--given-up") == "nothing was given up\n"
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(reads(press.gap(10, ((5, 6),)), press.gap(11, (), reason="corruption", previous="stream-z")))
    assert run("gaps", str(config), "--given-up", "--device", "press-1").splitlines() == [
        "2026-09-21 14:13:31  press-1  stream-z  corruption: nobody knows how many",
        "2026-09-21 14:13:30  press-1  stream-a  budget: 2 pass",
    ]


def test_two_messages_of_one_number_are_said_and_are_an_exit_code(config: Path) -> None:
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        restored = Writer(boot_id="boot-2", wall=press.wall + 60)
        Store(engine).add(reads(press.verdict(1), restored.verdict(1, "fail")))
    done = CliRunner().invoke(app, ["fleet", "dedupe", str(config)])
    assert done.exit_code == 1
    assert "missing 0  conflicts 1" in done.output
    assert "move the file at [spool] path of the copy away" in done.output
    assert "1 CONFLICTS" in run("status", str(config))


def test_a_dry_run_of_retention_names_every_rule(config: Path) -> None:
    fill(config)
    lines = run("retain", str(config), "--dry-run").splitlines()
    assert [line.split(None, 1)[1] for line in lines] == [
        "messages word for word older than 90 days",
        "telemetry older than 14 days",
        "verdicts of good parts older than 30 days",
        "pictures older than 365 days",
        "other verdicts older than 180 days",
        "states older than 180 days",
        "reported settings older than 180 days",
        "commands older than 1095 days",
        "replies older than 1095 days",
        "gaps older than 1095 days",
        "messages set aside older than 1095 days",
        "alerts older than 1095 days",
    ]
    assert run("retain", str(config)).endswith("rows removed\n")


def test_a_clock_that_is_suddenly_far_ahead_removes_nothing_until_a_person_says_that_it_is_right(config: Path) -> None:
    fill(config)
    now_ms = time.time_ns() // 1_000_000
    with opened(f"sqlite:///{config.parent}/fleet.db", writing=True) as engine:
        Store(engine).add(reads(replace(press.verdict(8), received_ms=now_ms - 40 * 86_400_000)))
        trust_clock(engine, now_ms - 3 * 86_400_000)
    done = CliRunner().invoke(app, ["fleet", "retain", str(config)])
    assert isinstance(done.exception, StoreError)
    assert "3 days after the store was last looked after" in str(done.exception)
    assert str(done.exception) in CliRunner().invoke(app, ["fleet", "status", str(config)]).stderr
    assert int(run("retain", str(config), "--clock-is-right").split()[0]) > 0
    assert "looked after" not in CliRunner().invoke(app, ["fleet", "status", str(config)]).stderr
    run("retain", str(config))


def test_retention_by_a_clock_that_is_not_set_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(config)
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000_000)
    for words in ((), ("--clock-is-right",)):
        done = CliRunner().invoke(app, ["fleet", "retain", str(config), *words])
        assert isinstance(done.exception, StoreError)
        assert "clock is not set" in str(done.exception)


@pytest.mark.parametrize("verb", ["ingest", "status", "migrate", "alerts", "audits", "gaps", "dedupe", "retain"])
def test_without_the_extra_one_sentence_says_what_to_install(
    config: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("edge_resad.fleet.")]:
        if not name.endswith((".settings", ".crash_points")):
            monkeypatch.delitem(sys.modules, name)
    for name in ("sqlalchemy", "alembic"):
        monkeypatch.setitem(sys.modules, name, None)
    done = CliRunner().invoke(app, ["fleet", verb, str(config)])
    assert isinstance(done.exception, SettingsError), done.output
    assert "pip install 'edge-resad[fleet]'" in str(done.exception)
