"""Bars know the quote volume in which the taker bought."""

from alembic import op

revision = "0006"
down_revision = "0005"

COLUMNS = """
ALTER TABLE processed_bars ADD COLUMN taker_buy_quote_volume numeric NOT NULL DEFAULT 0;
ALTER TABLE bar_revisions ADD COLUMN taker_buy_quote_volume numeric NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    """Add it."""
    op.execute(COLUMNS)
