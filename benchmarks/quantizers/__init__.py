"""Our Q/DQ beside that of others: see `__main__`."""
