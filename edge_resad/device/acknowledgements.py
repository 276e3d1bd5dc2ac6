"""Acknowledgements: what collectors say that they have stored; and a count of what looks like one and is none."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Literal

from edge_resad.device.hearing import Heard
from edge_resad.device.ration import Ration
from edge_resad.messages import Acknowledgement, AcknowledgementMessage, Address, read_message

log = logging.getLogger(__name__)

AckRefusal = Literal["unreadable", "other_kind", "other_station"]
SAID = 20  # of those that are refused, lines of the log within a minute; the rest is counted


class Acknowledgements:
    """Reads what comes on a station's own topic for them. Whoever may write there may write anything, at any rate."""

    def __init__(self, address: Address) -> None:
        self.refused: Counter[AckRefusal] = Counter()
        self._address = address
        self._ration = Ration(SAID)

    def read(self, heard: Heard) -> Acknowledgement | None:
        """What it says; None where it is no acknowledgement for this station."""
        try:
            message = read_message(heard.payload)
        except ValueError as error:
            why = str(error).partition("\n")[0]
            self._refuse("unreadable", heard, f"cannot be read: {why}")
            return None
        if not isinstance(message, AcknowledgementMessage):
            self._refuse("other_kind", heard, f"is none but {message.type}")
            return None
        said, ours = message.data, self._address
        if (said.site, said.line, said.device) != (ours.site, ours.line, ours.device):
            self._refuse("other_station", heard, f"is for {said.site}/{said.line}/{said.device}")
            return None
        return said

    def _refuse(self, kind: AckRefusal, heard: Heard, why: str) -> None:
        self.refused[kind] += 1
        if self._ration.take():
            log.warning("an acknowledgement on %s %s", heard.topic, why)
