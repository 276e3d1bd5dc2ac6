"""The tables are what the code takes them for, however a store came to them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from edge_resad.errors import StoreError
from edge_resad.fleet import schema
from edge_resad.fleet.database import MIGRATIONS, migrate, newest_revision, open_database, opened
from edge_resad.fleet.doubt import look_at_clock
from edge_resad.fleet.report import alerts, devices, rejected
from edge_resad.fleet.store import Store
from tests.fleet.letters import NOW_MS, Writer, reads


def test_the_migrations_make_the_tables_that_the_code_knows(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == newest_revision()


def test_to_migrate_twice_changes_nothing(engine: Engine) -> None:
    Store(engine).add(reads(Writer().verdict(1)))
    migrate(engine)
    assert Store(engine).add(reads(Writer().verdict(1))).duplicates == 1


@contextmanager
def older_store(url: str, revision: str) -> Iterator[Connection]:
    """A store as an older program made it, to put rows into."""
    older = open_database(url)
    with older.begin() as connection, _alembic(revision) as environment:
        environment.configure(connection=connection, transactional_ddl=False)
        environment.run_migrations()
        yield connection
    older.dispose()


@pytest.mark.parametrize(("seen_ms", "doubted"), [([NOW_MS, NOW_MS - 5], True), ([5], False), ([], False)])
def test_a_store_of_an_older_program_knows_until_when_its_clock_was_right(
    url: str, seen_ms: list[int], doubted: bool
) -> None:
    with older_store(url, "0005") as connection:
        for number, seen in enumerate(seen_ms):
            connection.exec_driver_sql(
                "INSERT INTO device (name, site, line, first_ms, seen_ms) "
                f"VALUES ('press-{number}', 'graz', 'l4', 1, {seen})"
            )
    with opened(url, writing=True) as engine:
        assert (look_at_clock(engine, NOW_MS + 1000 * 86_400_000, 0) is not None) == doubted


def test_a_store_of_an_older_program_goes_on_with_what_it_has(url: str) -> None:
    with older_store(url, "0004") as connection:
        connection.exec_driver_sql(
            "INSERT INTO device (name, site, line, first_ms, seen_ms) VALUES ('press-1', 'graz', 'l4', 1, 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO stream (id, device, stream_id, first_ms, seen_ms) VALUES (7, 1, 'stream-a', 1, 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO rejected (digest, stream, seq, first_ms, received_ms, times, topic, reason, payload, "
            "payload_bytes) VALUES ('0f', 7, 1, 1, 1, 2, 'er/v1/x', 'rubbish', '', 0)"
        )
    with opened(url, writing=True) as engine:
        Store(engine).add(reads(Writer(stream_id="stream-b").alert(1, "new")))
        with engine.connect() as connection:
            (status,) = devices(connection)
            assert (status.device, status.dead, status.set_aside) == ("press-1", None, 1)
            assert rejected(connection) == [("rubbish", 2)]
            assert [alert.reason for alert in alerts(connection)] == [None]


@contextmanager
def _alembic(revision: str) -> Iterator[EnvironmentContext]:
    """Alembic's environment that makes tables as far as this revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=lambda had, _: script._upgrade_revs(revision, had)) as environment:
        yield environment


def test_collectors_that_start_together_migrate_once(url: str) -> None:
    engines = [open_database(url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate, engines))
    for engine in engines:
        assert Store(engine).add(reads(Writer().verdict(1))).rejected == 0
        engine.dispose()


def test_a_store_of_a_newer_program_is_left_alone(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for writing in (True, False):
        with pytest.raises(StoreError, match="of a newer edge-resad"), opened(url, writing=writing):
            pass


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Start the collector, or make one"), opened(f"sqlite:///{tmp_path}/no.db"):
        pass
    with pytest.raises(StoreError, match="no folder"), opened(f"sqlite:///{tmp_path}/no/no.db", writing=True):
        pass


def test_a_file_that_is_no_store_is_said(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    file.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot be used"), opened(f"sqlite:///{file}", writing=True):
        pass
    assert file.read_bytes().startswith(b"this is no database")


def test_a_server_that_is_not_there_is_said_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://fleet:secret@/fleet?host={tmp_path}"
    with pytest.raises(StoreError, match="Check \\[store\\] url") as told, opened(url, writing=True):
        pass
    assert "secret" not in str(told.value)
