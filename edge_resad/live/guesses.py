"""Wrong passwords, counted by the address that they came from, so that nobody's guesses are another's trouble."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

FREE = 10  # wrong passwords in a row; a person needs two or three
AGAIN_S = 6.0  # until an address may guess once more: ten a minute
REMEMBERED = 1000  # addresses


class Guesses:
    """How many more an address may be wrong. It remembers the last `REMEMBERED` addresses that were."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> how often, when last

    def __len__(self) -> int:
        return len(self._wrong)

    def wait_s(self, address: str, now: float) -> float:
        """Seconds until a password from there is looked at again; 0 where it is looked at now."""
        return max(0.0, AGAIN_S * (self._count(_place(address), now) - FREE + 1))

    def wrong(self, address: str, now: float) -> None:
        """A password from there was wrong."""
        place = _place(address)
        self._wrong[place] = self._count(place, now) + 1, now
        self._wrong.move_to_end(place)
        while len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def _count(self, place: str, now: float) -> float:
        count, since = self._wrong.get(place, (0.0, now))
        return max(0.0, count - (now - since) / AGAIN_S)


def _place(address: str) -> str:
    """The address; of IPv6 its network, in which one machine has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))
