"""Inserting what may be there already, the same for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = "postgresql.Insert | sqlite.Insert"


def insert_into(connection: Connection, table: Table) -> Insert:
    """An insert of the database's own kind, which knows what to do about a row that is there."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(
    connection: Connection, table: Table, rows: list[dict[str, Any]], key: tuple[str, ...]
) -> set[tuple[Any, ...]]:
    """Insert what is not there yet; the keys of what was not."""
    if not rows:
        return set()
    keys = [table.c[name] for name in key]
    if connection.dialect.name == "postgresql":
        # One array a column: a statement with ten thousand values would take longer to read than to carry out.
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        arrays = [cast(bindparam(f"all_{name}"), postgresql.ARRAY(table.c[name].type)) for name in columns]
        source = func.unnest(*arrays).table_valued(*columns).render_derived()
        statement = postgresql.insert(table).from_select(list(columns), select(*source.c))
        inserted = connection.execute(
            statement.on_conflict_do_nothing().returning(*keys),
            {f"all_{name}": values for name, values in columns.items()},
        )
    else:
        inserted = connection.execute(sqlite.insert(table).on_conflict_do_nothing().returning(*keys), rows)
    return {tuple(row) for row in inserted}
