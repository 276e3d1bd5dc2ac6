"""A command is done once or not at all, and answered: over kill -9, full disks, wrong clocks and hostile bytes."""

from __future__ import annotations

import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import edge_resad.device.commands.commands as commands_module
from edge_resad.clock_floor import FLOOR_S
from edge_resad.device.commands.audit import Audit
from edge_resad.device.commands.ledger import LARGE, LARGE_KEPT, Answer, Ledger, Record
from edge_resad.device.crash_points import (
    COMMAND_CRASH_POINTS,
    CONFIG_CRASH_POINTS,
    CRASH_CODE,
    CommandCrashPoint,
    ConfigCrashPoint,
)
from edge_resad.device.ration import Ration
from edge_resad.errors import ControlError
from edge_resad.messages import COMMANDS, Moment, desired_message, read_key
from tests.device.commanded import ADDRESS, make_keys
from tests.device.wired import Wire, commanded, trigger
from tests.mqtt_peers import eventually

TOPIC = ADDRESS.command_topic("trigger")
NOW = FLOOR_S + 1e6
WAIT_S = 60.0  # a deadline, not a pause
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _keys(tmp_path: Path) -> None:
    make_keys(tmp_path)


def run_apart(folder: Path, *command_ids: str, crash_at: str | None = None) -> int:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **({"EDGE_RESAD_CRASH_AT": crash_at} if crash_at else {})}
    done = subprocess.run(
        [sys.executable, "-m", "tests.device.wired", str(folder), *command_ids],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode in (0, CRASH_CODE), done.stderr
    return done.returncode


@pytest.mark.parametrize("point", COMMAND_CRASH_POINTS)
def test_a_command_is_done_once_wherever_the_station_is_killed(tmp_path: Path, point: CommandCrashPoint) -> None:
    payload = trigger(tmp_path, "c1")
    (tmp_path / "c1.json").write_bytes(payload)
    assert run_apart(tmp_path, "c1", crash_at=point) == CRASH_CODE
    with commanded(tmp_path) as (wire, line, _):
        before = line.triggered
        if point not in (
            "command-heard",
            "command-beginning",
            "command-audited",
        ):  # nothing was noted, or all was: nothing is left to do
            assert wire.answered("c1")
        said = len(wire.replies("c1"))
        wire.hear(TOPIC, payload)
        last = wire.answered("c1", said + 1)[-1]
        after = line.triggered
    interrupted = "interrupted" in str(last.sentence)
    assert (before, after, last.status, last.again, interrupted) == {
        "command-heard": (0, 1, "done", False, False),
        "command-beginning": (0, 1, "done", False, False),
        "command-begun": (0, 0, "failed", True, True),
        "command-carried-out": (1, 1, "failed", True, True),
        "command-noting": (1, 1, "failed", True, True),
        "command-noted": (1, 1, "done", True, False),
        "audit-put": (1, 1, "done", True, False),
        "audit-written": (1, 1, "done", True, False),
        "audit-settling": (1, 1, "done", True, False),
        "command-audited": (1, 1, "done", True, False),
    }[point]
    lines = [json.loads(line)["status"] for line in (tmp_path / "commands.jsonl").read_text().splitlines()]
    # Between writing it down and noting that, nobody can know: then it is written down once more, and says the same.
    assert lines == [last.status] * (2 if point in ("audit-written", "audit-settling") else 1)
    with Ledger(tmp_path / "commands.db") as ledger:
        assert ledger.unsettled() == []


@pytest.mark.parametrize("point", ["ledger-making", "ledger-made"])
def test_a_station_that_is_killed_while_it_makes_its_ledger_makes_it_the_next_time(tmp_path: Path, point: str) -> None:
    payload = trigger(tmp_path, "c1")
    (tmp_path / "c1.json").write_bytes(payload)
    assert run_apart(tmp_path, "c1", crash_at=point) == CRASH_CODE
    with commanded(tmp_path) as (wire, line, _):
        wire.hear(TOPIC, payload)
        assert [reply.status for reply in wire.answered("c1")] == ["done"]
        assert line.triggered == 1
    assert list(tmp_path.glob("commands.db.damaged-*")) == []


@pytest.mark.parametrize(
    "point",
    [
        *("quarantine-marked", "quarantine-begun", "quarantine-begun:2", "quarantine-moved", "ledger-making"),
        *("ledger-made", "config-remembering", "config-remembered", "quarantine-salvaged", "quarantine-ended"),
        *("horizon-noting", "horizon-noted"),
    ],
)
def test_a_station_that_is_killed_while_it_sets_a_damaged_ledger_aside_does_nothing_twice(
    tmp_path: Path, point: str
) -> None:
    old, new = trigger(tmp_path, "c1", wall=time.time() - 30), "c2"
    (tmp_path / "c1.json").write_bytes(old)
    assert run_apart(tmp_path, "c1") == 0
    for name in ("commands.db", "commands.db-wal"):
        (tmp_path / name).write_bytes(b"no database at all" * 1000)
    wish: dict[str, Any] = {"event_id": "e", "settings": {}, "issued_by": "anna", "wall": NOW}
    payload = desired_message(ADDRESS, version=1, host="office", key=read_key(tmp_path / "admin.key"), **wish)
    (tmp_path / "config.json").write_bytes(payload)
    assert run_apart(tmp_path, "config", crash_at=point) == CRASH_CODE
    with commanded(tmp_path) as (wire, line, _):
        wire.hear(TOPIC, old, expiry_s=500)
        assert [reply.status for reply in wire.answered("c1")] == ["refused"]
        wire.hear(TOPIC, trigger(tmp_path, new))
        assert [reply.status for reply in wire.answered(new)] == ["done"]
        assert line.triggered == 2
    assert len(list(tmp_path.glob("commands.db.damaged-*[0-9]"))) == 1
    assert not (tmp_path / "commands.db.quarantine").exists()


_WRITES_LINES = """
import json, sys
from pathlib import Path
from edge_resad.device.commands.audit import Audit
file = Path(sys.argv[1])
audit = Audit(file, max_bytes=60, keep=18)  # a line a file
last = max((json.loads(line)["number"] for each in file.parent.iterdir() for line in each.read_text().splitlines()),
           default=0)
for number in range(last + 1, 20):
    audit.append({"number": number, "says": "x" * 10})
"""


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("point", ["audit-rotated"])
def test_a_station_that_is_killed_while_the_audit_begins_a_new_file_loses_no_line(
    tmp_path: Path, point: str, times: int
) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    for crash_at, code in ((f"{point}:{times}", CRASH_CODE), ("nowhere", 0)):
        done = subprocess.run(
            [sys.executable, "-c", _WRITES_LINES, str(folder / "audit.jsonl")],
            cwd=CHECKOUT,
            env={**os.environ, "EDGE_RESAD_CRASH_AT": crash_at},
            timeout=100,
        )
        assert done.returncode == code
    lines = [json.loads(line)["number"] for file in folder.iterdir() for line in file.read_text().splitlines()]
    assert sorted(lines) == list(range(1, 20))


@pytest.mark.parametrize("point", CONFIG_CRASH_POINTS)
def test_a_configuration_holds_once_it_is_remembered_wherever_the_station_is_killed(
    tmp_path: Path, point: ConfigCrashPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "level", logging.getLogger().level)  # what is set here ends here
    wish: dict[str, Any] = {"event_id": "e", "settings": {"log.level": "error"}, "issued_by": "anna", "wall": NOW}
    payload = desired_message(ADDRESS, version=1, host="office", key=read_key(tmp_path / "admin.key"), **wish)
    (tmp_path / "config.json").write_bytes(payload)
    assert run_apart(tmp_path, "config", crash_at=point) == CRASH_CODE
    remembered = point == "config-remembered"
    with commanded(tmp_path) as (wire, _, _):
        first = wire.reported(1 if remembered else None)
        assert (first.settings["log.level"] == "error") is remembered
        wire.hear(ADDRESS.desired_topic, payload)  # it is retained: the broker says it again
        last = wire.reported(1)
        assert (last.status, last.settings["log.level"]) == ("applied", "error")


class FakeMoment:
    """A clock that a test sets."""

    def __init__(self, wall: float = NOW, *, synced: bool | None = True) -> None:
        self.wall, self.mono, self.synced = wall, 100.0, synced

    def __call__(self) -> Moment:
        return Moment(boot_id="b", wall=self.wall, mono=time.monotonic(), clock_synced=self.synced)


@pytest.mark.parametrize(
    ("clock", "age_s", "left_s", "status", "says"),
    [
        (FakeMoment(), 0.0, None, "done", ""),
        (FakeMoment(), 61.0, None, "expired", "1 s too late"),
        (FakeMoment(), 61.0, 30, "expired", "1 s too late"),
        (FakeMoment(), -3600.0, None, "refused", "in the future"),
        (FakeMoment(), 0.0, 0, "expired", "too late"),
        (FakeMoment(synced=None), 61.0, None, "expired", "1 s too late"),
        (FakeMoment(synced=False), 61.0, 30, "done", ""),  # the broker knows better than a clock that nobody sets
        (FakeMoment(synced=False), 61.0, None, "expired", "1 s too late"),
        (FakeMoment(12.0, synced=False), 61.0, 30, "done", ""),
        (FakeMoment(12.0, synced=False), 0.0, None, "refused", "clock is not set"),
    ],
)
def test_a_command_that_is_too_old_is_not_done(
    tmp_path: Path, clock: FakeMoment, age_s: float, left_s: int | None, status: str, says: str
) -> None:
    with commanded(tmp_path, moment=clock) as (wire, line, _):
        payload = trigger(tmp_path, "c1", wall=NOW - age_s, expires_s=60.0)
        wire.hear(TOPIC, payload, expiry_s=left_s)
        (reply,) = wire.answered("c1")
        assert reply.status == status
        assert says in str(reply.sentence)
        assert line.triggered == (status == "done")
        wire.hear(TOPIC, payload, expiry_s=left_s)  # what was too late is not in time later
        assert wire.answered("c1", 2)[1].status == status


def test_a_command_older_than_the_ledger_remembers_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_module, "Ledger", lambda path: Ledger(path, most=3))
    clock = FakeMoment(synced=False)  # so that its age alone does not give it away
    payloads = {f"c{number}": trigger(tmp_path, f"c{number}", wall=NOW + number) for number in range(6)}
    with commanded(tmp_path, moment=clock) as (wire, line, _):
        for command_id, payload in payloads.items():
            wire.hear(TOPIC, payload, expiry_s=30)
            wire.answered(command_id)
        assert line.triggered == 6
        wire.hear(TOPIC, payloads["c0"], expiry_s=30)
        again = wire.answered("c0", 2)[1]
        assert (again.status, again.again) == ("refused", False)
        assert "older than what this station remembers" in str(again.sentence)
        assert line.triggered == 6


def test_a_damaged_ledger_is_set_aside_and_nothing_from_before_is_done(tmp_path: Path) -> None:
    old = trigger(tmp_path, "c1", wall=time.time() - 30)
    with commanded(tmp_path) as (wire, line, _):
        wire.hear(TOPIC, old, expiry_s=500)
        assert wire.answered("c1")[0].status == "done"
    (tmp_path / "commands.db").write_bytes(b"no database at all" * 1000)
    with commanded(tmp_path) as (wire, line, _):
        wire.hear(TOPIC, old, expiry_s=500)
        assert wire.answered("c1")[0].status == "refused"
        assert line.triggered == 1
    assert list(tmp_path.glob("commands.db.damaged-*"))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE command SET arguments = '{', audited = 0",
        "UPDATE command SET issued_by = CAST(x'ff' AS TEXT), result = CAST(x'7bff' AS TEXT), audited = 0",
        "INSERT OR REPLACE INTO fact VALUES ('desired', '{\"version\": 1,')",
    ],
)
def test_a_ledger_with_a_row_that_no_start_could_read_is_set_aside(tmp_path: Path, change: str) -> None:
    """Or no command would ever be looked at again."""
    with commanded(tmp_path) as (wire, _, _):
        wire.hear(TOPIC, trigger(tmp_path, "c1", wall=time.time() - 30), expiry_s=500)
        assert wire.answered("c1")[0].status == "done"
    with closing(sqlite3.connect(tmp_path / "commands.db")) as db, db:
        db.execute(change)
    with commanded(tmp_path) as (wire, _, _):
        wire.hear(TOPIC, trigger(tmp_path, "c2"))
        assert wire.answered("c2")[0].status == "done"
    assert list(tmp_path.glob("commands.db.damaged-*"))


def test_a_command_that_is_missing_in_the_ledgers_index_alone_is_not_done_again(tmp_path: Path) -> None:
    old = trigger(tmp_path, "c1-of-anna", wall=time.time() - 30)
    with commanded(tmp_path) as (wire, line, _):
        wire.hear(TOPIC, old, expiry_s=500)
        assert wire.answered("c1-of-anna")[0].status == "done"
    path = tmp_path / "commands.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    assert content.count(b"\x21\x09c1-of-anna") == 1  # of the index: 10 letters, and the row 1
    path.write_bytes(content.replace(b"\x21\x09c1-of-anna", b"\x21\x09b1-of-anna"))
    with commanded(tmp_path) as (wire, line, _):
        wire.hear(TOPIC, old, expiry_s=500)
        assert wire.answered("c1-of-anna")[0].status == "refused"
        assert line.triggered == 1


def damaged(folder: Path, *, written_s: float) -> bytes:
    """The command that was done before a folder's ledger was damaged. written_s: when that was, by its file."""
    old = trigger(folder, "old", wall=NOW)
    with commanded(folder, moment=FakeMoment()) as (wire, _, _):
        wire.hear(TOPIC, old, expiry_s=500)
        assert wire.answered("old")[0].status == "done"
    (folder / "commands.db").write_bytes(b"no database at all" * 1000)
    os.utime(folder / "commands.db", (written_s, written_s))
    return old


@pytest.mark.parametrize(
    ("wall", "synced"),
    [(12.0, False), (12.0, None), (12.0, True), (NOW - 600.0, False), (NOW - 600.0, None)],
    ids=["1970", "1970, nobody knows", "1970, as if right", "behind", "behind, nobody knows"],
)
def test_after_damage_nothing_is_done_until_there_is_a_clock_and_then_nothing_from_before(
    tmp_path: Path, wall: float, synced: bool | None
) -> None:
    old, clock = damaged(tmp_path, written_s=NOW), FakeMoment(wall, synced=synced)
    waits = trigger(tmp_path, "waits", wall=NOW + 3600.0)
    with commanded(tmp_path, moment=clock) as (wire, line, _):
        for command_id, payload in (("new", trigger(tmp_path, "new", wall=NOW + 1.0)), ("old", old)):
            wire.hear(TOPIC, payload, expiry_s=600)
            (reply,) = wire.answered(command_id)
            assert reply.status == "refused"
            assert "its clock is not set or behind" in str(reply.sentence)
    with commanded(tmp_path, moment=clock) as (wire, line, _):  # nor after a restart
        wire.hear(TOPIC, waits, expiry_s=600)
        assert "its clock is not set or behind" in str(wire.answered("waits")[0].sentence)
        clock.wall, clock.synced = NOW + 3600.0, True
        for command_id, wall_s, status in (("unseen", NOW - 1.0, "refused"), ("newest", NOW + 3600.0, "done")):
            wire.hear(TOPIC, trigger(tmp_path, command_id, wall=wall_s, expires_s=86400.0), expiry_s=600)
            assert [reply.status for reply in wire.answered(command_id)] == [status]
        assert line.triggered == 2
    clock.wall, clock.synced = 12.0, False  # a clock that is lost again forgets nothing of it
    with commanded(tmp_path, moment=clock) as (wire, line, _):
        for command_id, wall_s, status in (("earlier", NOW - 2.0, "refused"), ("later", NOW + 4000.0, "done")):
            wire.hear(TOPIC, trigger(tmp_path, command_id, wall=wall_s, expires_s=600.0), expiry_s=600)
            assert [reply.status for reply in wire.answered(command_id)] == [status]


def test_after_damage_the_broker_says_what_is_from_before_where_the_clock_was_always_behind(tmp_path: Path) -> None:
    old, behind = damaged(tmp_path, written_s=NOW - 600.0), FakeMoment(NOW - 500.0, synced=False)
    with commanded(tmp_path, moment=behind) as (wire, line, _):
        wire.hear(TOPIC, old, expiry_s=450)  # of 600: it was sent before this run
        assert "older than what this station remembers" in str(wire.answered("old")[0].sentence)
        wire.hear(TOPIC, trigger(tmp_path, "new", wall=NOW), expiry_s=600)
        assert [reply.status for reply in wire.answered("new")] == ["done"]
        assert line.triggered == 2


def test_what_the_ledger_does_not_take_is_not_begun(tmp_path: Path) -> None:
    with commanded(tmp_path) as (wire, line, commands):
        wire.hear(TOPIC, trigger(tmp_path, "c0"))
        wire.answered("c0")
        commands._ledger._db.execute("PRAGMA query_only = ON")  # as on a disk that takes nothing
        wire.hear(TOPIC, trigger(tmp_path, "c1"))
        (reply,) = wire.answered("c1")
        assert reply.status == "refused"
        assert "Make room" in str(reply.sentence)
        assert line.triggered == 1
        commands._ledger._db.execute("PRAGMA query_only = OFF")
        wire.hear(TOPIC, trigger(tmp_path, "c1"))
        assert wire.answered("c1", 2)[1].status == "done"
        assert commands.refused["no_ledger"] == 1


def test_more_commands_than_are_waited_for_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_module, "WAITING", 2)
    going_on, begun = threading.Event(), threading.Event()

    def hang(_arguments: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        going_on.wait(WAIT_S)
        return {"triggered": ["cam0"]}

    with commanded(tmp_path) as (wire, line, commands):
        line.controls.register("trigger", hang, "trigger")
        wire.hear(TOPIC, trigger(tmp_path, "c0"))
        assert begun.wait(WAIT_S)
        for number in range(1, 5):
            wire.hear(TOPIC, trigger(tmp_path, f"c{number}"))
        assert commands.refused["too_many"] == 2
        assert [wire.answered(name)[0].status for name in ("c3", "c4")] == ["refused", "refused"]
        going_on.set()
        assert [wire.answered(name)[0].status for name in ("c0", "c1", "c2")] == ["done"] * 3


def test_what_was_begun_is_remembered_until_the_ledger_knows_its_end_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[frozenset[str]] = []
    with commanded(tmp_path) as (wire, line, commands):

        def look(_arguments: dict[str, Any]) -> dict[str, Any]:
            begun.append(frozenset(commands._begun))
            return {"triggered": ["cam0"]}

        line.controls.register("trigger", look, "trigger")
        for number in range(20):
            wire.hear(TOPIC, trigger(tmp_path, f"c{number}"))
            wire.answered(f"c{number}")
        assert eventually(lambda: not commands._begun, WAIT_S)
        monkeypatch.setattr(commands._ledger, "finish", full)
        wire.hear(TOPIC, trigger(tmp_path, "unnoted"))
        wire.hear(TOPIC, trigger(tmp_path, "last"))
        wire.answered("last")
        assert "unnoted" in commands._begun  # or it would be called interrupted where its thread begins anew
    assert [f"c{number}" in begun[number] for number in range(20)] == [True] * 20
    assert max(len(some) for some in begun) <= 3  # the one before it may not have ended yet


def test_an_end_that_the_ledger_did_not_take_is_noted_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with commanded(tmp_path) as (wire, _, commands):
        with monkeypatch.context() as disk:
            disk.setattr(commands._ledger, "finish", full)
            for name in ("c1", "c2"):
                wire.hear(TOPIC, trigger(tmp_path, name))
                wire.answered(name)
            assert eventually(lambda: set(commands._unnoted) == {"c1", "c2"}, WAIT_S)
        wire.hear(TOPIC, trigger(tmp_path, "c3"))
        wire.answered("c3")
        assert eventually(lambda: not commands._begun, WAIT_S)
        assert not commands._unnoted
    with commanded(tmp_path) as (wire, line, _):  # as after a restart
        wire.hear(TOPIC, trigger(tmp_path, "c1"))
        assert [(reply.status, reply.again) for reply in wire.answered("c1")] == [("done", True)]
        assert line.triggered == 3


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def hostile(random_: random.Random, good: bytes) -> bytes:
    """Random bytes, random JSON, or a command with something changed in it."""
    kind = random_.randrange(5)
    if kind == 0:
        return random_.randbytes(random_.randrange(200))
    if kind == 1:
        values: list[Any] = [None, True, -1, 1e308, "\ud800", [], {}, "x" * 500, {"data": {"command_id": []}}]
        return json.dumps(random_.choice(values)).encode("utf-8", "surrogatepass")
    changed = bytearray(good)
    if kind == 2:
        for _ in range(random_.randrange(1, 5)):
            changed[random_.randrange(len(changed))] = random_.randrange(256)
        return bytes(changed) if bytes(changed) != good else b""
    if kind == 3:
        return good[: random_.randrange(len(good))]
    said = json.loads(good)
    name = random_.choice(list(said["data"]))
    said["data"][name] = random_.choice([None, [], {}, -1, "restart", 1e300, {"a": [[[[]]]]}])
    return json.dumps(said).encode() if said != json.loads(good) else b"{}"


def test_ten_thousand_hostile_messages_do_nothing_and_are_counted(tmp_path: Path) -> None:
    random_, good, most = random.Random(7), trigger(tmp_path, "good"), 10_000
    with commanded(tmp_path) as (wire, line, commands):
        restarted: list[object] = []
        line.controls.register("restart", lambda told: restarted.append(told) or {}, "restart")  # type: ignore[func-returns-value]
        commands._ration = Ration(commands_module.SAID_REFUSALS, clock=lambda: 0.0)  # all within one minute
        for _ in range(most):
            name = random_.choice([*COMMANDS, "dance", "\ud800", ""])
            assert eventually(lambda: not commands._came.full(), WAIT_S)
            wire.hear(f"{ADDRESS.prefix}/cmd/{name}", hostile(random_, good))
        wire.hear(TOPIC, b"x" * (commands_module.LARGEST + 1))
        wire.hear(TOPIC, good)

        def executed() -> int:  # the envelope is not signed: a change in it alone is the same command once more
            return sum(reply.status == "done" for reply in wire.replies("good"))

        assert eventually(lambda: commands.refused.total() + executed() == most + 2, WAIT_S)
        assert line.triggered == 1
        assert restarted == []
        assert commands.refused["too_large"] == 1
        assert len(wire.replies()) - executed() <= commands_module.SAID_REFUSALS
    assert len((tmp_path / "commands.jsonl").read_text().splitlines()) <= commands_module.SAID_REFUSALS + 1


def test_configurations_that_are_refused_are_counted_and_do_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    most = 3 * commands_module.SAID_REFUSALS
    with commanded(tmp_path) as (wire, _, commands):
        commands._ration = Ration(commands_module.SAID_REFUSALS, clock=lambda: 0.0)  # all within one minute
        for _ in range(most):
            assert eventually(lambda: not commands._came.full(), WAIT_S)
            wire.hear(ADDRESS.desired_topic, b"nonsense")
        assert eventually(lambda: commands.refused["unreadable"] == most, WAIT_S)
    said = sum("a configuration is refused" in one for one in caplog.messages)
    assert said == commands_module.SAID_REFUSALS


def record(number: int, **more: Any) -> Record:
    about: dict[str, Any] = {"digest": "d", "command": "snapshot", "issued_by": "anna", "role": None, "arguments": {}}
    return Record(command_id=f"c{number}", issued_wall_s=float(number), **{**about, **more})


def test_large_results_are_remembered_for_the_newest_commands_alone(tmp_path: Path) -> None:
    large = Answer(status="done", result={"jpeg": "x" * (LARGE + 1)})
    with Ledger(tmp_path / "ledger.db") as ledger:
        for number in range(LARGE_KEPT + 20):
            ledger.begin(record(number))
            ledger.finish(f"c{number}", large)
            ledger.audited(f"c{number}")
        first, last = ledger.find("c0"), ledger.find(f"c{LARGE_KEPT + 19}")
    assert first is not None
    assert last is not None
    assert (first.answer, last.answer) == (Answer(status="done"), large)


def test_a_ledger_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match=r"Check \[commands\] ledger"), Ledger(tmp_path / "file" / "ledger.db"):
        pass


def test_the_audit_keeps_so_many_files_of_such_a_size(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", max_bytes=200, keep=2)
    for number in range(50):
        audit.append({"number": number, "says": "x" * 20})
    files = sorted(tmp_path.glob("audit.jsonl*"))
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(file.stat().st_size <= 200 for file in files)
    assert json.loads(files[0].read_text().splitlines()[-1])["number"] == 49


def test_half_a_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_bytes(b'{"number": 1')
    Audit(file, max_bytes=200, keep=2).append({"number": 2})
    assert file.read_bytes() == b'{"number": 1\n{"number":2}\n'


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(tmp_path / "audit.jsonl", max_bytes=10**6, keep=2)
    audit.append({"number": 1})

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        audit.append({"number": 2})
    assert (tmp_path / "audit.jsonl").read_text() == '{"number":1}\n'


def test_the_ledger_is_on_the_disk_before_a_command_begins(tmp_path: Path) -> None:
    found: list[object] = []
    with commanded(tmp_path) as (wire, line, _):

        def look(_arguments: dict[str, Any]) -> dict[str, Any]:
            with sqlite3.connect(tmp_path / "commands.db") as db:
                found.extend(db.execute("SELECT command_id, status FROM command"))
            db.close()
            return {"triggered": ["cam0"]}

        line.controls.register("trigger", look, "trigger")
        wire.hear(TOPIC, trigger(tmp_path, "c1"))
        wire.answered("c1")
    assert found == [("c1", None)]
    assert isinstance(wire, Wire)
