"""The changes, first to last."""
