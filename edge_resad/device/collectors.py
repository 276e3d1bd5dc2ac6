"""Collectors: who stores what this station says, as far as they say so of themselves."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edge_resad.device.hearing import Heard
from edge_resad.messages import CollectorStateMessage, read_message

log = logging.getLogger(__name__)

MOST = 100  # collectors that are remembered; whoever may write there might invent any number


@dataclass(frozen=True, kw_only=True)
class _State:
    online: bool
    connection: str


class Collectors:
    """What is retained of them, as it came on this connection. A help alone: letters go out whatever this says.

    Belongs to the publisher's thread.
    """

    def __init__(self, site: str) -> None:
        self._site = site
        self._states: dict[str, _State] = {}  # of those that hear this site
        self._mute = False  # one acknowledges, and none that is there has said so

    def forget(self) -> None:
        """The connection is new: what is retained comes again."""
        self._states.clear()

    @property
    def there(self) -> tuple[str, ...]:
        """The names of those that are there."""
        return tuple(sorted(name for name, state in self._states.items() if state.online))

    @property
    def gone(self) -> tuple[str, ...]:
        """The names of those that were there, where nobody is; empty also where nobody knows."""
        return () if self._mute or self.there else tuple(sorted(self._states))

    @property
    def unknown(self) -> bool:
        """None has ever said anything here, in words or by an acknowledgement."""
        return not self._states and not self._mute

    def acknowledged(self) -> None:
        """One has acknowledged something."""
        self._mute = self._mute or not self.there

    def hear(self, heard: Heard) -> bool:
        """Take what was said on a collector's topic; whether one has come just now and there was no other."""
        name = heard.topic.split("/")[3]
        if not heard.payload:  # somebody took the retained message away
            self._states.pop(name, None)
            return False
        try:
            message = read_message(heard.payload)
        except ValueError as error:
            log.debug("a collector's state on %s cannot be read: %s", heard.topic, error)
            return False
        if not isinstance(message, CollectorStateMessage) or message.data.collector != name:
            return False
        said, known = message.data, self._states.get(name)
        if said.sites and self._site not in said.sites:
            self._states.pop(name, None)
            return False
        if not said.online and known is not None and known.online and said.connection != known.connection:
            return False  # late: it tells of the past
        if known is None and len(self._states) >= MOST:
            return False
        others = [other for other in self.there if other != name]
        self._states[name] = _State(online=said.online, connection=said.connection)
        self._mute = False
        is_new = known is None or not known.online or known.connection != said.connection
        return said.online and is_new and not heard.retain and not others
