"""Messages that a broker will never take; why an alert ended; whose what was set aside is, and how much of it went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("device", sa.Column("dead", sa.BigInteger(), nullable=True))
    op.add_column("alert_message", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("rejected", sa.Column("device", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE rejected SET device = (SELECT stream.device FROM stream WHERE stream.id = rejected.stream) "
        "WHERE stream IS NOT NULL"
    )
    op.create_index("rejected_of_device", "rejected", ["device", "received_ms"], unique=False)
    op.create_table(
        "dropped",
        sa.Column("device", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("messages", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
