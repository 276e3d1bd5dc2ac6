"""A collector that is killed around any commit and begun again leaves a store as if it had not been killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from edge_resad.fleet import schema
from edge_resad.fleet.crash_points import EXIT_CODE
from edge_resad.fleet.database import _script, newest_revision, open_database, opened
from edge_resad.fleet.report import accounts, alerts
from edge_resad.fleet.store import Store
from tests.fleet import upkeep
from tests.fleet.letters import Writer, reads
from tests.fleet.peers import CHECKOUT
from tests.postgres_server import Postgres


def run(url: str, crash_at: str | None = None) -> int:
    """A process of its own that does what a collector does; its exit code."""
    environment = {name: value for name, value in os.environ.items() if name != "EDGE_RESAD_CRASH_AT"}
    environment |= {"EDGE_RESAD_CRASH_AT": crash_at} if crash_at else {}
    command = [sys.executable, "-m", "tests.fleet.upkeep", url]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode in (0, EXIT_CODE), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> upkeep.Contents:
    """The store of a collector that nobody killed."""
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'fleet.db'}"
    with opened(url, writing=True) as engine:
        upkeep.prepare(engine)
        before = upkeep.contents(engine)
    assert run(url) == 0
    with opened(url) as engine:
        after = upkeep.contents(engine)
    assert all(after[name] != before[name] for name in ("rejected", "verdict", "boot", "hour", "raw", "clock"))
    return after


@pytest.mark.parametrize(
    "point",
    [
        *("before-insert:2", "after-insert", "after-insert:3", "after-commit:2", "after-commit:4"),
        *("reread-stored", "in-rereading", "in-rereading:2", "after-rereading"),
        *("in-backdating", "in-backdating:3", "after-backdating:2", "in-settling:2", "after-settling"),
        *("in-clock-look", "after-clock-look"),
        *(
            "in-dating-of-receipts:2",
            "in-dating-of-receipts:5",
            "after-dating-of-receipts",
            "after-dating-of-receipts:6",
        ),
        *("in-retention", "in-retention:7", "after-retention:3"),
        *("in-retention-of-rejected:2", "after-retention-of-rejected"),
    ],
)
def test_a_collector_that_is_killed_in_its_work_ends_with_the_store_that_it_would_have(
    tmp_path: Path, point: str, undisturbed: upkeep.Contents
) -> None:
    kill_and_compare(f"sqlite:///{tmp_path / 'fleet.db'}", point, undisturbed)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "point",
    [
        *("after-insert:3", "in-rereading", "in-backdating:3", "in-settling:2", "in-retention:7", "after-retention:3"),
        *("after-clock-look", "in-dating-of-receipts:5"),
    ],
)
def test_so_it_does_on_postgresql(postgres: Postgres, point: str, undisturbed: upkeep.Contents) -> None:
    kill_and_compare(postgres.new_database(), point, undisturbed)


def kill_and_compare(url: str, point: str, undisturbed: upkeep.Contents) -> None:
    with opened(url, writing=True) as engine:
        upkeep.prepare(engine)
    assert run(url, point) == EXIT_CODE
    with opened(url) as engine, engine.connect() as connection:
        assert [account.missing for account in accounts(connection)] == [[], []]  # not at any moment
    assert run(url) == 0
    with opened(url) as engine:
        assert upkeep.contents(engine) == undisturbed
        with engine.connect() as connection:
            told = [(account.generated, account.stored, account.missing) for account in accounts(connection)]
            assert told == [(19, 19, []), (6, 6, [])]
            assert {(alert.device, alert.alert_id): alert.open for alert in alerts(connection)} == {
                ("press-1", "a1"): False,
                ("press-1", "a2"): True,
                ("press-2", "a1"): True,
            }


_AT_FIRST = """
INSERT INTO verdict (stream, seq, boot, received_ms, at_ms, at_quality, wall_ms, mono_ms, device, camera, product,
                     status, frame_id) VALUES (77, 1, 1, 5, 5, 'synced', 5, 5, 1, 'cam0', 'bolt', 'pass', 1)
"""


def make_older(engine: Engine, revision: str) -> None:
    """A store as an older collector made it, with a part in it."""
    script, config = _script()

    def upgrade(before: object, _context: object) -> object:
        return script._upgrade_revs(revision, before)  # type: ignore[arg-type]

    with engine.begin() as connection:
        with EnvironmentContext(config, script, fn=upgrade) as environment:
            environment.configure(connection=connection, transactional_ddl=False)
            environment.run_migrations()
        connection.execute(text(_AT_FIRST))


def revision_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@pytest.mark.parametrize("older", [None, "0001"])
@pytest.mark.parametrize("point", ["between-migrations", "between-migrations:3", "in-migration", "after-migration"])
def test_a_collector_that_is_killed_while_it_changes_the_tables_has_changed_all_of_them_or_none(
    tmp_path: Path, older: str | None, point: str
) -> None:
    kill_and_migrate(f"sqlite:///{tmp_path / 'fleet.db'}", older, point)


@pytest.mark.postgres
@pytest.mark.parametrize("point", ["between-migrations:2", "in-migration", "after-migration"])
def test_so_it_has_on_postgresql(postgres: Postgres, point: str) -> None:
    kill_and_migrate(postgres.new_database(), "0001", point)


def kill_and_migrate(url: str, older: str | None, point: str) -> None:
    engine = open_database(url)
    if older is not None:
        make_older(engine, older)
    assert revision_of(engine) == older
    assert run(url, point) == EXIT_CODE
    assert revision_of(engine) == (newest_revision() if point == "after-migration" else older)
    engine.dispose()
    with opened(url, writing=True) as again, again.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, schema.metadata) == []
        (parts,) = connection.execute(text("SELECT count(*) FROM verdict")).one()
        assert parts == (0 if older is None else 1)
        connection.rollback()
        receipt = Store(again).add(reads(Writer(stream_id="stream-b").verdict(1)))
        assert (receipt.stored, receipt.rejected) == (1, 0)
