"""The faults of a station, one after the other: how soon each is noticed and over, and what becomes of parts."""
