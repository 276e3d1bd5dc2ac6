"""Until when a collector's clock could be trusted, so that one that jumps ahead removes nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trusted_ms", sa.BigInteger(), nullable=False),
        sa.Column("doubted_ms", sa.BigInteger(), nullable=True),
        sa.Column("waited_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("gap_received", "gap", ["received_ms"], unique=False)
    op.execute(  # what is younger than 2024 was received with a clock that was set
        "INSERT INTO clock (id, trusted_ms) SELECT 1, MAX(seen_ms) FROM device WHERE seen_ms >= 1704067200000 "
        "HAVING MAX(seen_ms) IS NOT NULL"
    )
