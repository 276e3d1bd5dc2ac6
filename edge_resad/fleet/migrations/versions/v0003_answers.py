"""What stations answered, and the settings that they reported."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "reply",
        sa.Column("device", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("device", "command_id", "status"),
        sqlite_with_rowid=False,
    )
    op.create_index("reply_received", "reply", ["received_ms"], unique=False)
    op.create_table(
        "reported",
        sa.Column("device", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=True),
        sa.Column("refused", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device", "message_id"),
    )
    op.create_index("reported_received", "reported", ["received_ms"], unique=False)
    op.create_index("command_of_device", "command", ["device", "command_id"], unique=False)
