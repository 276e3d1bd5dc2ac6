"""What a station's broker will never take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("device", sa.Column("dead", sa.BigInteger(), nullable=True))
