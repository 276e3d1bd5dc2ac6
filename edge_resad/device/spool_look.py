"""A look into an outbox, also while its station runs: what waits, what is dead, what was given up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_resad.device.quarantine import UNREADABLE, any_text
from edge_resad.errors import SpoolError


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message that the broker will never take."""

    seq: int
    kind: str
    topic: str
    size: int  # bytes
    problem: str  # what the broker said


@dataclass(frozen=True, kw_only=True)
class SpoolLook:
    """What an outbox holds at one moment."""

    stream_id: str
    next_seq: int
    waiting: Sequence[tuple[str, int, int]]  # kind, messages and bytes
    dead: Sequence[DeadLetter]
    dropped: int  # over the life of the stream
    damaged: Sequence[Path]  # files that were set aside


def look(path: Path) -> SpoolLook:
    """Read an outbox without a lock.

    Raises:
        SpoolError: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise SpoolError(f"no spool at {path}. The station makes it when it runs; see [spool] path.")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
            db.text_factory = any_text
            stream_id, next_seq, dropped = db.execute("SELECT stream_id, next_seq, dropped FROM stream").fetchone()
            waits = "SELECT kind, count(*), sum(size) FROM letter WHERE state = 0 GROUP BY kind ORDER BY kind"
            dead = "SELECT seq, kind, topic, length(body), problem FROM letter WHERE state = 2 ORDER BY seq"
            return SpoolLook(
                stream_id=stream_id,
                next_seq=next_seq,
                waiting=db.execute(waits).fetchall(),
                dead=[
                    DeadLetter(seq=seq, kind=kind, topic=topic, size=size, problem=problem or "")
                    for seq, kind, topic, size, problem in db.execute(dead)
                ],
                dropped=dropped,
                damaged=sorted(path.parent.glob(f"{path.name}.damaged-*[0-9]")),
            )
    except (*UNREADABLE, TypeError) as error:
        raise SpoolError(
            f"the spool {path} cannot be read: {error}. A station that starts sets a damaged one aside."
        ) from error
