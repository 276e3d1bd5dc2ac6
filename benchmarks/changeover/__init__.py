"""How long a changeover takes, and what aligning and reading codes cost: see `__main__`."""
