"""The faults of a station, one after the other: what happens, how soon it is noticed and over, and what becomes of parts."""
