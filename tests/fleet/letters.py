"""Messages as a station writes them, for the fleet's tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edge_resad.decision import Region, Verdict
from edge_resad.fleet.reading import Arrival, Reading, read
from edge_resad.messages import (
    Address,
    Alert,
    GapReason,
    ImageReference,
    Moment,
    Phase,
    Severity,
    Stamp,
    Status,
    alert_message,
    audit_message,
    birth_message,
    fault_message,
    gap_message,
    interrupted_message,
    not_inspected_message,
    offline_message,
    read_message,
    reply_message,
    reported_message,
    telemetry_message,
    thumbnail_message,
    verdict_message,
)

NOW_S = 1_790_000_000.0
NOW_MS = 1_790_000_000_000
JPEG = b"\xff\xd8\xff\xdb" + bytes(60) + b"\xff\xd9"


@dataclass(frozen=True)
class Writer:
    """A station with right clocks, unless it is told otherwise."""

    device: str = "press-1"
    stream_id: str = "stream-a"
    boot_id: str = "boot-1"
    wall: float = NOW_S  # of the message 0; one more second with each
    mono: float = 100.0
    synced: bool | None = True

    @property
    def address(self) -> Address:
        return Address(site="graz", line="l4", device=self.device)

    def stamp(self, seq: int) -> Stamp:
        return Stamp(self.stream_id, seq, self.boot_id, self.wall + seq, self.mono + seq, self.synced)

    def verdict(self, seq: int, status: str = "pass", *, score: float = 0.5, product: str = "bolt") -> Arrival:
        verdict = judged("fail" if status == "fail" else "pass", score)
        body = verdict_message(
            self.address,
            self.stamp(seq),
            product=product,
            camera="cam0",
            verdict=verdict,
            frame_id=seq,
            latency_ms=12.5,
        )
        return self.arrival(self.address.verdict_topic("cam0"), body, seq)

    def not_inspected(self, seq: int) -> Arrival:
        body = not_inspected_message(
            self.address, self.stamp(seq), product="bolt", camera="cam0", reason="black", frame_id=seq
        )
        return self.arrival(self.address.verdict_topic("cam0"), body, seq)

    def alert(
        self,
        seq: int,
        phase: Phase,
        severity: Severity = "major",
        *,
        alert_id: str = "a1",
        picture: bool = False,
        score: float = 1.6,
    ) -> Arrival:
        stamp = self.stamp(seq)
        topic = self.address.thumbnail_topic(stamp.event_id)
        body = alert_message(
            self.address,
            stamp,
            product="bolt",
            camera="cam0",
            phase=phase,
            severity=severity,
            verdict=judged("fail" if score > 1.0 else "pass", score),
            frame_id=seq,
            latency_ms=12.5,
            alert_id=alert_id,
            image=ImageReference(topic=topic, size_bytes=len(JPEG)) if picture else None,
        )
        return self.arrival(self.address.alert_topic(severity), body, seq)

    def fault(self, seq: int, phase: Phase, fault: str, *, alert_id: str) -> Arrival:
        body = fault_message(
            self.address,
            self.stamp(seq),
            product="bolt",
            camera="cam0",
            phase=phase,
            severity="critical",
            fault=fault,
            alert_id=alert_id,
        )
        return self.arrival(self.address.alert_topic("critical"), body, seq)

    def interrupted(self, seq: int, last: Arrival) -> Arrival:
        """What a station says with its next start of an alert that was open when it was killed."""
        said = read_message(last.payload).data
        assert isinstance(said, Alert)
        body = interrupted_message(self.address, self.stamp(seq), last=said)
        return self.arrival(last.topic, body, seq)

    def picture(self, seq: int, of: int) -> Arrival:
        body = thumbnail_message(self.address, self.stamp(seq), JPEG)
        return self.arrival(self.address.thumbnail_topic(self.stamp(of).event_id), body, seq)

    def gap(
        self,
        seq: int,
        ranges: tuple[tuple[int, int], ...],
        *,
        reason: GapReason = "budget",
        previous: str | None = None,
    ) -> Arrival:
        counts = {"pass": sum(last - first + 1 for first, last in ranges)}
        body = gap_message(
            self.address, self.stamp(seq), ranges=ranges, counts=counts, reason=reason, previous_stream_id=previous
        )
        return self.arrival(self.address.gap_topic, body, seq)

    def birth(self, bd_seq: int, *, live_from: int = 1, waiting: int = 0, dead: int = 0, again: int = 0) -> Arrival:
        body = birth_message(
            self.address,
            bd_seq=bd_seq,
            stream_id=self.stream_id,
            boot_id=self.boot_id,
            wall=self.wall,
            live_from_seq=live_from,
            waiting=waiting,
            dropped=0,
            dead=dead,
            facts={"version": "0.1.0", "product": "bolt"},
            faults={"cam0": ()},
            again=again,
        )
        return Arrival(self.address.state_topic, body, NOW_MS + bd_seq)

    def offline(self, bd_seq: int) -> Arrival:
        body = offline_message(
            self.address, bd_seq=bd_seq, stream_id=self.stream_id, boot_id=self.boot_id, wall=self.wall
        )
        return Arrival(self.address.state_topic, body, NOW_MS + bd_seq)

    def telemetry(self, number: int) -> Arrival:
        at = Moment(boot_id=self.boot_id, wall=self.wall, mono=self.mono)
        body = telemetry_message(self.address, at, event_id=f"t{number}", up_s=12.5, load=0.5)
        return Arrival(self.address.telemetry_topic, body, NOW_MS, qos=0)

    def audit(
        self, seq: int, command_id: str, status: Status = "done", *, by: str = "anna", role: str | None = "engineer"
    ) -> Arrival:
        about: dict[str, Any] = {"command_id": command_id, "command": "threshold", "arguments": {"value": 1.5}}
        about |= {"role": role} | {
            "issued_by": by,
            "issued_wall_s": self.wall,
            "status": status,
            "sentence": "It is 1.5.",
        }
        body = audit_message(self.address, self.stamp(seq), about)
        return self.arrival(self.address.audit_topic, body, seq)

    def reply(
        self,
        command_id: str,
        status: Status = "done",
        *,
        at_s: int = 0,
        sentence: str = "It is 1.5.",
        result: dict[str, object] | None = None,
        again: bool = False,
    ) -> Arrival:
        """at_s: seconds after the message 0 that it came."""
        about: dict[str, Any] = {"command_id": command_id, "command": "threshold", "status": status}
        at = Moment(boot_id=self.boot_id, wall=self.wall, mono=self.mono)
        body = reply_message(self.address, at, **about, sentence=sentence, result=result, again=again)
        return Arrival(self.address.reply_topic(command_id), body, NOW_MS + 1000 * at_s)

    def reported(
        self, number: int, version: int | None = None, status: Literal["applied", "refused"] | None = None
    ) -> Arrival:
        at = Moment(boot_id=self.boot_id, wall=self.wall, mono=self.mono)
        body = reported_message(
            self.address,
            at,
            event_id=f"r{number}",
            settings={"log.level": "info"},
            version=version,
            status=status,
            refused={"log.level": "is no level"} if status == "refused" else {},
        )
        return Arrival(self.address.reported_topic, body, NOW_MS + 1000 * number)

    def arrival(self, topic: str, body: bytes, seq: int) -> Arrival:
        return Arrival(topic, body, NOW_MS + 1000 * seq, event_id=self.stamp(seq).event_id)


def judged(status: str, score: float) -> Verdict:
    region = Region(box=(3, 4, 5, 6), area_px=17, peak=2.5, polygon=((3, 4), (8, 4), (8, 10)))
    failed = status == "fail"
    return Verdict(
        status="fail" if failed else "pass",
        score=score,
        threshold=1.0,
        regions=(region,) if failed else (),
    )


def reads(*arrivals: Arrival) -> list[Reading]:
    return [read(arrival) for arrival in arrivals]
