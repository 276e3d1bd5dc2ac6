"""A collector's state: there is somebody who stores what stations say, or there is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.strict import Strict
from edge_resad.messages.topic import Id, collector_source


class CollectorState(Strict):
    """A collector is there or is gone: said by itself, or by the broker (its will) where it cannot say it any more.

    A false of another `connection` than that of the last true is late: it tells of the past.
    """

    online: bool
    collector: Id
    group: Id  # collectors of one group share the messages: one of them suffices
    sites: tuple[Id, ...] = ()  # whose stations it hears; empty: all
    connection: Id  # of its connection to the broker; unique in the world
    version: str | None = None  # of its program; None when it is gone


class CollectorStateMessage(Envelope):
    """A collector's state in its envelope."""

    type: Literal["edge-resad.collector-state"] = "edge-resad.collector-state"
    data: CollectorState


def collector_state_message(
    collector: str,
    *,
    online: bool,
    group: str,
    sites: Sequence[str],
    connection: str,
    wall: float,
    version: str | None = None,
) -> bytes:
    """The retained payload for `collector_topic(collector)`; as a will, its time is that of the connection."""
    about = {"collector": collector, "group": group, "sites": tuple(sites), "connection": connection}
    data = CollectorState.model_validate({"online": online, **about, "version": version})
    event_id = f"{connection}-{'on' if online else 'off'}"
    return CollectorStateMessage(**envelope_fields(collector_source(collector), event_id, wall), data=data).payload()
