"""Hearing: what others say to a station, handed to whoever asked for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from paho.mqtt.client import topic_matches_sub

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A message that came to the station."""

    topic: str
    payload: bytes
    retain: bool = False
    response_topic: str | None = None  # this and the rest: MQTT 5 alone
    correlation: bytes | None = None
    expiry_s: int | None = None  # what is left of it
    user: tuple[tuple[str, str], ...] = field(default=())


Handler = Callable[[Heard], None]


class Hearing:
    """Who wants to hear what. Handlers are called one after the other in the publisher's thread: they must be quick."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: tuple[tuple[str, Handler], ...] = ()

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe to, each once."""
        return tuple(dict.fromkeys(topic_filter for topic_filter, _ in self._handlers))

    def add(self, topic_filter: str, handler: Handler) -> Callable[[], None]:
        """Have `handler` called with what comes on these topics; the answer ends that."""
        entry = (topic_filter, handler)
        with self._lock:
            self._handlers = (*self._handlers, entry)

        def stop() -> None:
            with self._lock:
                self._handlers = tuple(one for one in self._handlers if one is not entry)

        return stop

    def hand_on(self, heard: Heard) -> None:
        """Call who asked for this. What goes wrong there is logged and stays there."""
        for topic_filter, handler in self._handlers:
            if topic_matches_sub(topic_filter, heard.topic):
                try:
                    handler(heard)
                except Exception:
                    log.exception("a message on %s could not be dealt with", heard.topic)
