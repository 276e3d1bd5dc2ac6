"""What an older collector could not read is stored by a newer one."""

from __future__ import annotations

from sqlalchemy import Engine, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.reading import refuse
from edge_resad.fleet.report import accounts, alerts
from edge_resad.fleet.rereading import reread
from edge_resad.fleet.store import Store
from tests.fleet.letters import NOW_MS, Writer, reads

press = Writer()


def test_what_can_be_read_by_now_moves_to_where_it_belongs(engine: Engine) -> None:
    store = Store(engine)
    said = (press.verdict(1), press.alert(2, "new"))
    store.add([refuse(arrival, "of a newer station", press.address) for arrival in said])
    store.add(reads(press.arrival(press.address.gap_topic, b"rubbish", 3)))
    assert reread(engine, store) == 2
    assert reread(engine, store) == 0
    with engine.connect() as connection:
        (alert,) = alerts(connection)
        assert (alert.began_ms, alert.open) == (NOW_MS + 2000, True)
        (account,) = accounts(connection)
        assert (account.stored, account.missing) == (3, [])
        assert connection.execute(select(schema.hour.c.parts)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(schema.rejected)).scalar_one() == 1


def test_of_two_with_one_number_the_other_stays_as_a_conflict_when_both_can_be_read(engine: Engine) -> None:
    store = Store(engine)
    said = (press.verdict(1), press.verdict(1, "fail"))
    store.add([refuse(arrival, "of a newer station", press.address) for arrival in said])
    reread(engine, store)
    with engine.connect() as connection:
        kept = connection.execute(select(schema.rejected.c.seq, schema.rejected.c.conflict)).all()
        (account,) = accounts(connection)
    assert [tuple(row) for row in kept] == [(1, True)]
    assert (account.stored, account.conflicts) == (1, 1)
