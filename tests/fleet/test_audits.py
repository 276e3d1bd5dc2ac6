"""Audits: every command once, with who asked and how it ended, whatever of it has come so far."""

from __future__ import annotations

from sqlalchemy import Engine

from edge_resad.fleet.audits import CommandAccount, audits
from edge_resad.fleet.store import Store
from tests.fleet.letters import NOW_MS, Writer, reads

press = Writer()
other = Writer(device="press-2", stream_id="stream-b")


def told(engine: Engine, *, device: str | None = None, since_ms: int | None = None, most: int = 50) -> list[str]:
    """The ids of the commands."""
    with engine.connect() as connection:
        found = audits(connection, device=device, since_ms=since_ms, most=most)
    return [account.command_id for account in found]


def the_one(engine: Engine) -> CommandAccount:
    with engine.connect() as connection:
        (account,) = audits(connection)
    return account


def test_a_command_is_told_by_its_audit_with_what_its_reply_adds(engine: Engine) -> None:
    Store(engine).add(reads(press.audit(1, "k1"), press.reply("k1", result={"threshold": 1.5})))
    account = the_one(engine)
    assert (account.site, account.line, account.device) == ("graz", "l4", "press-1")
    assert (account.issued_by, account.role, account.command) == ("anna", "engineer", "threshold")
    assert (account.arguments, account.result) == ({"value": 1.5}, {"threshold": 1.5})
    assert (account.status, account.sentence) == ("done", "It is 1.5.")
    assert (account.at_ms, account.at_quality) == (NOW_MS + 1000, "synced")


def test_a_command_that_goes_on_is_told_by_its_reply_until_its_audit_comes(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(press.reply("k1", "accepted", sentence="It is on its way.")))
    assert (the_one(engine).status, the_one(engine).issued_by) == ("accepted", None)
    store.add(reads(press.reply("k1", "failed", sentence="It did not fit.")))
    assert (the_one(engine).status, the_one(engine).sentence) == ("failed", "It did not fit.")
    store.add(reads(press.audit(1, "k1", "failed")))
    assert (the_one(engine).status, the_one(engine).issued_by) == ("failed", "anna")


def test_a_command_that_was_written_down_twice_is_one_and_the_later_counts(engine: Engine) -> None:
    Store(engine).add(reads(press.audit(1, "k1", "failed"), press.audit(2, "k1", "done")))
    assert the_one(engine).status == "done"


def test_the_same_id_at_two_stations_is_two_commands(engine: Engine) -> None:
    Store(engine).add(reads(press.audit(1, "k1"), other.audit(1, "k1", "refused")))
    with engine.connect() as connection:
        assert {(account.device, account.status) for account in audits(connection)} == {
            ("press-1", "done"),
            ("press-2", "refused"),
        }


def test_the_newest_come_first_and_only_those_that_are_asked_for(engine: Engine) -> None:
    Store(engine).add(
        reads(press.audit(1, "old"), press.audit(9, "new"), press.reply("middle", at_s=5), other.audit(7, "there"))
    )
    assert told(engine) == ["new", "there", "middle", "old"]
    assert told(engine, most=2) == ["new", "there"]
    assert told(engine, device="press-1") == ["new", "middle", "old"]
    assert told(engine, since_ms=NOW_MS + 5000) == ["new", "there", "middle"]
    assert told(engine, device="press-3") == []
