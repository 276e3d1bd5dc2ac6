"""How long it takes from a trigger to the verdict: see `__main__`."""
