"""What a station's broker will never take, and why an alert ended where it is not known to be over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("device", sa.Column("dead", sa.BigInteger(), nullable=True))
    op.add_column("alert_message", sa.Column("reason", sa.Text(), nullable=True))
