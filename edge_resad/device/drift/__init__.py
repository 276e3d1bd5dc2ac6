"""Drift: what slowly changes on a line, by control charts that say how often they are wrong.

The charts and their false-alarm rate are described in docs/drift.md.
"""
