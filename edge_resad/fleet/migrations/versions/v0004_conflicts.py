"""Messages under a number that another has; the oldest good parts are found without a look at the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("stream", sa.Column("conflicts", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("rejected", sa.Column("conflict", sa.Boolean(), server_default=sa.text("(false)"), nullable=False))
    for name, which in (("verdict_passed", "status = 'pass'"), ("verdict_others", "status != 'pass'")):
        where = sa.text(which)
        op.create_index(name, "verdict", ["received_ms"], unique=False, sqlite_where=where, postgresql_where=where)
    op.drop_index("verdict_received", "verdict", if_exists=True)  # a table that was partitioned has it by another name
