"""The store's tables as they came to be, one module a change, for Alembic."""
