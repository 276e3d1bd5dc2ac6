"""Speakers: who has spoken to the fleet, and the numbers by which the store knows them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, case, select, update

from edge_resad.fleet import schema
from edge_resad.fleet.clock import is_synced, to_ms
from edge_resad.fleet.inserting import insert_into
from edge_resad.fleet.reading import Letter, News, Reading, Unreadable, origin_of
from edge_resad.messages import Address, Birth, Gap, Offline

_CACHED = 100_000  # names whose numbers are remembered
_SEEN_EVERY_MS = 10_000  # how exactly a device's last sign of life is kept


class Speakers:
    """Stations, their streams and the starts of their computers. What is remembered of a transaction that was not
    committed must be forgotten.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Ask the store again."""
        self._devices: dict[str, tuple[int, str, str]] = {}  # name -> number, site, line
        self._streams: dict[tuple[int, str], int] = {}
        self._boots: dict[tuple[int, str], tuple[int, int | None]] = {}  # -> number, offset_ms
        self._seen_ms: dict[int, int] = {}  # device -> what the store knows

    @property
    def too_many(self) -> bool:
        """Whether more is remembered than is worth it."""
        return max(len(self._devices), len(self._streams), len(self._boots)) > _CACHED

    def know(self, connection: Connection, batch: Sequence[Reading]) -> None:
        """Give a number to everybody who speaks in a batch."""
        self._know_devices(connection, batch)
        self._know_streams(connection, batch)
        self._know_boots(connection, batch)

    def device(self, address: Address) -> int:
        """The number of a station."""
        return self._devices[address.device][0]

    def stream(self, address: Address, stream_id: str) -> int:
        """The number of a station's stream."""
        return self._streams[self.device(address), stream_id]

    def boot(self, address: Address, boot_id: str) -> tuple[int, int | None]:
        """The number of a start of a station's computer, and by how many ms its clocks differ, where that is known."""
        return self._boots[self.device(address), boot_id]

    def _know_devices(self, connection: Connection, batch: Sequence[Reading]) -> None:
        speakers = {reading.address: reading.arrival.received_ms for reading in batch if reading.address}
        by_name = {address.device: (address, seen_ms) for address, seen_ms in speakers.items()}
        known = self._devices
        unknown = sorted(name for name in by_name if name not in known)
        table = schema.device
        if unknown:
            rows = [
                {
                    **{"name": name, "site": by_name[name][0].site, "line": by_name[name][0].line},
                    **{"first_ms": by_name[name][1], "seen_ms": by_name[name][1]},
                }
                for name in unknown
            ]
            connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)
            asked = select(table.c.name, table.c.id, table.c.site, table.c.line).where(table.c.name.in_(unknown))
            for name, number, site, line in connection.execute(asked):
                known[name] = (number, site, line)
        moved, seen = [], []
        for name, (address, seen_ms) in sorted(by_name.items()):
            number, *place = known[name]
            if place != [address.site, address.line]:
                moved.append({"of": number, "site": address.site, "line": address.line})
                known[name] = (number, address.site, address.line)
            if seen_ms - self._seen_ms.get(number, 0) >= _SEEN_EVERY_MS:
                seen.append({"of": number, "seen": seen_ms})
                self._seen_ms[number] = seen_ms
        if moved:
            connection.execute(update(table).where(table.c.id == bindparam("of")), moved)
        if seen:
            later = case((table.c.seen_ms < bindparam("seen"), bindparam("seen")), else_=table.c.seen_ms)
            connection.execute(update(table).where(table.c.id == bindparam("of")).values(seen_ms=later), seen)

    def _know_streams(self, connection: Connection, batch: Sequence[Reading]) -> None:
        wanted = {
            (self.device(letter.address), stream_id): letter.arrival.received_ms
            for letter in batch
            if isinstance(letter, Letter)
            for stream_id in _streams_of(letter)
        }
        for reading in batch:
            if reading.address is not None and (stream_id := _stream_beside(reading)) is not None:
                wanted.setdefault((self.device(reading.address), stream_id), reading.arrival.received_ms)
        table, known = schema.stream, self._streams
        unknown = sorted(key for key in wanted if key not in known)
        if unknown:
            rows = [
                {"device": device, "stream_id": name, "first_ms": wanted[device, name], "seen_ms": wanted[device, name]}
                for device, name in unknown
            ]
            connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)
            asked = select(table.c.device, table.c.stream_id, table.c.id)
            asked = asked.where(table.c.stream_id.in_([name for _, name in unknown]))
            for device, name, number in connection.execute(asked):
                known[device, name] = number

    def _know_boots(self, connection: Connection, batch: Sequence[Reading]) -> None:
        origins = [
            (self.device(letter.address), origin_of(letter), letter.arrival.received_ms)
            for letter in batch
            if isinstance(letter, Letter)
        ]
        wanted = {(device, origin.boot_id): received_ms for device, origin, received_ms in origins}
        table, known = schema.boot, self._boots
        unknown = sorted(key for key in wanted if key not in known)
        if unknown:
            rows = [{"device": device, "boot_id": name, "first_ms": wanted[device, name]} for device, name in unknown]
            connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)
            asked = select(table.c.device, table.c.boot_id, table.c.id, table.c.offset_ms)
            asked = asked.where(table.c.boot_id.in_([name for _, name in unknown]))
            for device, name, number, offset_ms in connection.execute(asked):
                known[device, name] = (number, offset_ms)
        offsets = {}
        for device, origin, received_ms in origins:
            number, offset_ms = known[device, origin.boot_id]
            if offset_ms is None and is_synced(origin, received_ms):
                offset_ms = to_ms(origin.wall_s) - to_ms(origin.mono_s)
                known[device, origin.boot_id] = (number, offset_ms)
                offsets[number] = offset_ms
        if offsets:
            first = update(table).where(table.c.id == bindparam("of"), table.c.offset_ms.is_(None))
            rows = [{"of": number, "offset": offset_ms} for number, offset_ms in sorted(offsets.items())]
            connection.execute(first.values(offset_ms=bindparam("offset")), rows)


def _streams_of(letter: Letter) -> list[str]:
    """The stream that a letter is of and, of a gap, the one that it speaks of."""
    content = letter.content
    streams = [origin_of(letter).stream_id]
    if isinstance(content, Gap) and content.previous_stream_id is not None:
        streams.append(content.previous_stream_id)
    return streams


def _stream_beside(reading: Reading) -> str | None:
    """The stream that something else than a letter speaks of."""
    if isinstance(reading, Unreadable):
        return reading.stream_id
    if isinstance(reading, News) and isinstance(reading.content, (Birth, Offline)):
        return reading.content.stream_id
    return None
