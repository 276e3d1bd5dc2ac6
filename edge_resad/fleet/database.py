"""The store's database: opened by its address, brought up to date, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from edge_resad.errors import StoreError
from edge_resad.fleet.crash_points import crash_point

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_S = 10  # a SQLite file that another program writes is waited for so long
_LOCK = 7_236_581  # PostgreSQL: of the one that migrates
REMOVING = 7_236_582
"""PostgreSQL's lock of the collector that removes rows."""

_one_at_a_time = threading.Lock()  # Alembic's environment is one for the whole process

log = logging.getLogger(__name__)


def open_database(url: str) -> Engine:
    """An engine for this address; connects when it is used."""
    try:
        engine = create_engine(url, hide_parameters=True)
    except (SQLAlchemyError, ValueError) as error:
        raise StoreError(f"[store] url cannot be used: {error}. Check it in the fleet file.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


@contextmanager
def opened(url: str, *, writing: bool = False) -> Iterator[Engine]:
    """The database for as long as the context lasts; StoreError where it is not there or of another version.

    writing: it is made where it is not there, and brought up to date.
    """
    engine = open_database(url)
    try:
        if writing:
            migrate(engine)
        else:
            _expect_current(engine)
        yield engine if writing else engine.execution_options(reading=True)
    except SQLAlchemyError as error:
        raise StoreError(f"the store {shown(engine)} cannot be used: {cause(error)}. {_todo(engine)}") from error
    finally:
        engine.dispose()


def migrate(engine: Engine) -> None:
    """Bring the tables up to date. Several may call it at once."""
    _check_folder(engine)
    script, config = _script()

    def upgrade(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)  # what alembic's own `upgrade` does

    with _one_at_a_time, engine.begin() as connection, EnvironmentContext(config, script, fn=upgrade) as environment:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        _refuse_newer(engine, connection, script)
        environment.configure(
            connection=connection,
            transactional_ddl=False,
            on_version_apply=lambda **_: crash_point("between-migrations"),
        )
        environment.run_migrations()
        crash_point("in-migration")
    crash_point("after-migration")


def alone(connection: Connection, lock: int) -> bool:
    """Whether no other collector does the same now; in SQLite a transaction is always alone."""
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({lock})").scalar_one())


def newest_revision() -> str:
    """The version of the tables that this program works with."""
    return str(_script()[0].get_current_head())


def shown(engine: Engine) -> str:
    """The store's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def cause(error: BaseException) -> str:
    """What went wrong, in one line and without the statement."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def _script() -> tuple[ScriptDirectory, Config]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config), config


def _revision(connection: Any) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(engine: Engine, connection: Any, script: ScriptDirectory) -> None:
    revision = _revision(connection)
    if revision is not None and revision not in {known.revision for known in script.walk_revisions()}:
        raise StoreError(
            f"the store {shown(engine)} is of a newer edge-resad (revision {revision}). Update this program."
        )


def _expect_current(engine: Engine) -> None:
    if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        raise StoreError(
            f"no store at {engine.url.database}. Start the collector, or make one: edge-resad fleet migrate"
        )
    script, _ = _script()
    with engine.execution_options(reading=True).connect() as connection:
        _refuse_newer(engine, connection, script)
        revision = _revision(connection)
    if revision != script.get_current_head():
        raise StoreError(
            f"the store {shown(engine)} is of another version ({revision or 'it is empty'}). "
            "Bring it up to date: edge-resad fleet migrate"
        )


def _check_folder(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        folder = Path(str(engine.url.database)).parent
        if not folder.is_dir():
            raise StoreError(f"no folder {folder} for the store. Make it, or set [store] url in the fleet file.")


def _todo(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return "Check the file, its rights and the room on its disk."
    return "Check [store] url, and that PostgreSQL runs and lets this user in."


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves: see below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a power cut must not lose what was acknowledged
    cursor.execute("PRAGMA cache_size=-65536")  # KiB
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads first could not write any more when another one has; one that only reads hinders nobody.
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    before, connection.autocommit = connection.autocommit, True
    cursor = connection.cursor()
    # A server set to acknowledge before it has written would have us acknowledge what a power cut loses.
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.autocommit = before
