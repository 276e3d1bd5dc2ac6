"""Whoever can write to a broker can send a reader anything. What the readers do with it, counted.

Random bytes, and valid messages that were changed at random: bits, pieces, JSON fields, topics, a picture's stamp. A
reader may take a message or refuse it with ValueError; anything else is a crash. A signed command that was changed must
be refused: one that is taken although it says something else than what was signed is a forgery.

Other readers are given as `--also MODULE:NAME`, a function `(topic, payload)` such as a collector's.
"""

from __future__ import annotations

import copy
import importlib
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from edge_resad.messages import (
    Address,
    Command,
    Desired,
    Moment,
    SignatureRefused,
    SigningKey,
    Stamp,
    acknowledgement_message,
    alert_message,
    birth_message,
    check_signature,
    command_message,
    desired_message,
    fault_message,
    gap_message,
    not_inspected_message,
    offline_message,
    read_command,
    read_desired,
    read_message,
    read_thumbnail,
    read_topic,
    reply_message,
    reported_message,
    telemetry_message,
    thumbnail_message,
    type_of,
    verdict_message,
)

Reader: TypeAlias = Callable[[str, bytes], object]
HERE = Address(site="graz", line="l4", device="jetson-07")
KEYS = (
    SigningKey(key_id="operator-1", role="operator", secret="0b" * 32),
    SigningKey(key_id="engineer-1", role="engineer", secret="5a" * 32),
    SigningKey(key_id="admin-1", role="admin", secret="c4" * 32),
)
_HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**53, 2**63, -(2**63) - 1, 10**400),
    *(1e308, -0.0, 1e-320, float("inf"), float("nan")),
    *("", "0", "a/b", "#", "+", "\x00", "\ud800", "é" * 70, "x" * 100_000, "1970-01-01T00:00:00Z"),
    *("../../etc/passwd", "'; DROP TABLE alert; --", "{{7*7}}", "<script>"),
    *([], {}, [[]], [None] * 2000, {"": ""}, {"__class__": {}}, [1, [2, [3]]]),
)
_DEEP = "@deep@"  # stands for arrays in arrays
_HUGE = "@huge@"  # stands for a number that no float holds
_TOPIC_PARTS = (
    *("", "er", "v1", "v2", "graz", "+", "#", "$share", "state", "cmd", "ack", "cfg", "desired", "\x00", "a" * 65, "ä"),
)


@dataclass(frozen=True)
class _Drawn:
    """A region and a verdict, as little as a message needs."""

    status: Any = "fail"
    score: float = 2.0
    threshold: float = 1.0
    severity: Any = "critical"
    regions: tuple[Any, ...] = ()
    box: tuple[int, int, int, int] = (3, 4, 5, 6)
    area_px: int = 17
    peak: float = 2.5
    polygon: tuple[tuple[int, int], ...] = ((3, 4), (8, 4), (8, 10))
    roi: str | None = "thread"
    area_mm2: float | None = 0.17
    size_mm: tuple[float, float] | None = (0.5, 0.6)
    polygon_mm: tuple[tuple[float, float], ...] | None = ((0.3, 0.4), (0.8, 0.4), (0.8, 1.0))


@dataclass
class Tally:
    """What one reader did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    forgeries: list[bytes] = field(default_factory=list)


def valid_messages() -> list[tuple[str, bytes]]:
    """A topic and a payload of every kind of message, commands and settings signed."""
    stamp = Stamp("5a1d9e1c-8f5e-4a8e-9d3b-0d3f3f0c7a11", 42, "boot-1", 1.79e9, 12.5, True, 0.01)
    at = Moment(boot_id="boot-1", wall=1.79e9, mono=12.5, clock_synced=False)
    part: dict[str, Any] = {"product": "bolt", "camera": "cam0"}
    verdict = _Drawn(regions=(_Drawn(), _Drawn()))
    state: dict[str, Any] = {"bd_seq": 3, "stream_id": stamp.stream_id, "boot_id": "boot-1", "wall": 1.79e9}
    birth = birth_message(
        HERE, **state, live_from_seq=1, waiting=0, dropped=0, facts={"version": "0.1.0"}, faults={"cam0": ("black",)}
    )
    judged: dict[str, Any] = {"verdict": verdict, "frame_id": 9, "latency_ms": 11.25}
    alert = alert_message(HERE, stamp, **part, **judged, phase="new", severity="critical")
    wish: dict[str, Any] = {"issued_by": "anna", "wall": 1.79e9, "host": "office"}
    commands: list[tuple[str, dict[str, Any], SigningKey]] = [
        ("threshold", {"value": 1.25}, KEYS[1]),
        ("product-use", {"product": "bolt"}, KEYS[0]),
        ("set-config", {"settings": {"inspection.debounce_k": 2}}, KEYS[1]),
        ("fetch-image", {"event": "e-1", "upload_url": "https://fleet/e-1"}, KEYS[0]),
        ("deploy-bundle", {"url": "https://fleet/b", "sha256": "0f" * 32, "size_bytes": 9, "bundle_id": "b"}, KEYS[2]),
    ]
    return [
        (HERE.state_topic, birth),
        (HERE.state_topic, offline_message(HERE, **state)),
        (HERE.verdict_topic("cam0"), verdict_message(HERE, stamp, **part, **judged)),
        (HERE.verdict_topic("cam0"), not_inspected_message(HERE, stamp, **part, reason="black", frame_id=9)),
        (HERE.alert_topic("critical"), alert),
        (HERE.alert_topic("major"), fault_message(HERE, stamp, **part, phase="new", severity="major", fault="blurred")),
        (HERE.thumbnail_topic(stamp.event_id), thumbnail_message(HERE, stamp, b"\xff\xd8\xff\xe0" + bytes(500))),
        (HERE.gap_topic, gap_message(HERE, stamp, ranges=[(1, 3), (5, 9)], counts={"pass": 8}, reason="budget")),
        (HERE.telemetry_topic, telemetry_message(HERE, at, event_id="t-1", up_s=5.0, temperatures_c={"gpu": 60.0})),
        (HERE.reported_topic, reported_message(HERE, at, event_id="r-1", settings={"inspection.debounce_k": 2})),
        (HERE.reply_topic("c-1"), reply_message(HERE, at, command_id="c-1", command="restart", status="done")),
        (
            HERE.ack_topic,
            acknowledgement_message(
                HERE, event_id="a-1", wall=1.0, stream_id=stamp.stream_id, stored=[(1, 9), (12, 12)], collector="col-1"
            ),
        ),
        (
            HERE.desired_topic,
            desired_message(HERE, event_id="d-1", version=4, settings={"spool.max_mb": 64}, key=KEYS[1], **wish),
        ),
        *(
            (
                HERE.command_topic(name),
                command_message(HERE, name, command_id="c-1", expires_s=60, arguments=arguments, key=key, **wish),
            )
            for name, arguments, key in commands
        ),
    ]


def mutated(draw: random.Random, messages: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A topic and a payload that somebody might send."""
    topic, payload = draw.choice(messages)
    how = draw.randrange(10)
    if how == 0:
        payload = draw.randbytes(draw.randrange(200))
    elif how <= 3:
        payload = _changed_bytes(draw, payload, draw.choice(messages)[1])
    elif how <= 7:
        payload = _changed_json(draw, payload)
    elif how == 8:
        payload = draw.choice(messages)[1]  # right in itself, on another's topic
    if draw.random() < 0.3:
        topic = _changed_topic(draw, topic)
    return topic, payload


def _changed_bytes(draw: random.Random, payload: bytes, other: bytes) -> bytes:
    changed = bytearray(payload)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        at = draw.randrange(len(changed) + 1)
        how = draw.randrange(6)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << draw.randrange(8)
        elif how == 1:
            del changed[at:]
        elif how == 2:
            del changed[at : at + draw.randrange(1, 20)]
        elif how == 3:
            changed[at:at] = draw.randbytes(draw.randrange(1, 20))
        elif how == 4:
            changed[at:at] = changed[: draw.randrange(200)]
        else:
            changed[at:] = other[draw.randrange(len(other)) :]
    return bytes(changed)


def _changed_json(draw: random.Random, payload: bytes) -> bytes:
    if payload.startswith(b"\xff\xd8"):
        return _changed_stamp(draw, payload)
    message = json.loads(payload)
    for _ in range(draw.choice((1, 1, 2, 5))):
        _change_one(draw, message)
    text = json.dumps(message, ensure_ascii=draw.random() < 0.5)
    depth = draw.choice((10, 200, 900, 5000))
    text = text.replace(f'"{_DEEP}"', "[" * depth + "]" * depth).replace(f'"{_HUGE}"', "1e999")
    return text.encode("utf-8", "surrogatepass")


def _changed_stamp(draw: random.Random, picture: bytes) -> bytes:
    """A picture whose origin was changed, or does not have the length that it says."""
    end = 4 + int.from_bytes(picture[4:6], "big")
    origin = _changed_json(draw, picture[6:end])[:65_000]
    length = len(origin) + 2 if draw.random() < 0.8 else draw.randrange(65_536)
    return picture[:4] + length.to_bytes(2, "big") + origin + picture[end:]


def _change_one(draw: random.Random, message: Any) -> None:
    """Change one field somewhere inside."""
    part = message
    while True:
        keys: list[Any] = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = part[key]
        if not isinstance(inner, (dict, list)) or not inner or draw.random() < 0.2:
            break
        part = inner
    how = draw.randrange(6)
    if how == 0 and isinstance(part, dict):
        del part[key]
    elif how == 1 and isinstance(part, dict):
        part[str(draw.choice(("", "type", "data", "signature", "x" * 70, "\x00")))] = part.pop(key)
    elif how == 2 and isinstance(part, dict):
        part[draw.choice(("added", "__proto__", "schemaversion"))] = _hostile(draw)
    elif how == 3 and isinstance(inner, (int, float)) and abs(inner) < 1e300:
        part[key] = draw.choice((-inner, inner + 1, inner * 10, inner / 3, str(inner)[:40]))
    else:
        part[key] = _hostile(draw)


def _hostile(draw: random.Random) -> object:
    if draw.random() < 0.04:
        return draw.choice((_DEEP, _HUGE))
    return copy.deepcopy(draw.choice(_HOSTILE))


def _changed_topic(draw: random.Random, topic: str) -> str:
    parts = topic.split("/")
    at = draw.randrange(len(parts))
    how = draw.randrange(4)
    if how == 0:
        parts[at] = draw.choice(_TOPIC_PARTS)
    elif how == 1:
        del parts[at]
    elif how == 2:
        parts.insert(at, draw.choice(_TOPIC_PARTS))
    else:
        parts[at] = "".join(chr(draw.randrange(1, 0x2FF)) for _ in range(draw.randrange(70)))
    return "/".join(parts)


def _command_is_what_was_signed(originals: list[bytes]) -> Reader:
    """A reader of commands and settings that raises `_Forged` where a changed one is taken."""
    signed = [json.loads(payload)["data"] for payload in originals]

    def read(topic: str, payload: bytes) -> object:
        taken: Command | Desired
        if "/cfg/" in topic:
            taken = read_desired(topic, payload, to=HERE, keys=KEYS)
        else:
            taken, _ = read_command(topic, payload, to=HERE, keys=KEYS)
        if taken.model_dump(mode="json", exclude_none=True) not in signed:
            raise _Forged
        return taken

    return read


class _Forged(Exception):
    """A message was taken that says something else than what was signed."""


def our_readers() -> Mapping[str, Reader]:
    """Everything that reads what comes from a broker."""
    orders = [payload for topic, payload in valid_messages() if "/cmd/" in topic or "/cfg/desired" in topic]
    return {
        "topic": lambda topic, payload: (read_topic(topic), type_of(topic)),
        "message": lambda topic, payload: read_message(payload),
        "picture": lambda topic, payload: read_thumbnail(payload),
        "signature": lambda topic, payload: check_signature(payload, KEYS, HERE),
        "command": _command_is_what_was_signed(orders),
        "command, unsigned": lambda topic, payload: read_command(topic, payload, to=HERE, keys=None),
    }


def fuzz(messages: int, seed: int, readers: Mapping[str, Reader]) -> Mapping[str, Tally]:
    """Give every reader so many messages, the valid ones first, and count what it does with them."""
    draw, valid = random.Random(seed), valid_messages()
    tallies = {name: Tally() for name in readers}
    for number in range(messages):
        topic, payload = valid[number] if number < len(valid) else mutated(draw, valid)
        for name, reader in readers.items():
            _try(reader, topic, payload, tallies[name])
    return tallies


def _try(reader: Reader, topic: str, payload: bytes, tally: Tally) -> None:
    try:
        reader(topic, payload)
        tally.outcomes["taken"] += 1
    except SignatureRefused:
        tally.outcomes["refused: signature"] += 1
    except ValueError:
        tally.outcomes["refused"] += 1
    except _Forged:
        tally.outcomes["forged"] += 1
        tally.forgeries.append(payload)
    except Exception:  # whatever it is, it is what we look for
        tally.outcomes["crashed"] += 1
        if len(tally.crashes) < 3:
            tally.crashes.append(f"{topic!r} {payload[:2000]!r}\n{traceback.format_exc(limit=-6)}")


def main(
    messages: Annotated[int, typer.Option(min=1, help="How many are given to every reader.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same messages again.")] = 0,
    also: Annotated[list[str] | None, typer.Option(help="MODULE:NAME of another reader (topic, payload).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send random and changed messages to every reader; exit code 1 where one crashes or takes a forgery."""
    readers = dict(our_readers())
    for name in also or []:
        module, _, function = name.partition(":")
        readers[name] = getattr(importlib.import_module(module), function)
    began = time.perf_counter()
    tallies = fuzz(messages, seed, readers)
    took = time.perf_counter() - began
    outcomes = ("taken", "refused", "refused: signature", "forged", "crashed")
    if as_json:
        counts = {name: {one: tally.outcomes[one] for one in outcomes} for name, tally in tallies.items()}
        print(json.dumps({"messages": messages, "seed": seed, "seconds": round(took, 1), "readers": counts}))
    else:
        table = Table("reader", *outcomes, title=f"{messages} messages, seed {seed}, {took:.0f} s")
        for name, tally in tallies.items():
            table.add_row(name, *(str(tally.outcomes[one]) for one in outcomes))
        Console().print(table)
    bad = [text for tally in tallies.values() for text in (*tally.crashes, *map(repr, tally.forgeries[:3]))]
    for text in bad:
        print(text, file=sys.stderr)
    raise typer.Exit(1 if bad else 0)


if __name__ == "__main__":
    typer.run(main)
