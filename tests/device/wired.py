"""Commands without a station: a registry that writes down what it was told, and a wire that a test holds the end of.

`python -m tests.device.wired FOLDER COMMAND_ID...` hears a trigger for each id and ends; it may be killed on the way.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import edge_resad.device.commands.commands as commands_module
from edge_resad.device.commands.commands import Commands
from edge_resad.device.control import Controls
from edge_resad.device.errands import Errands
from edge_resad.device.hearing import Handler, Heard
from edge_resad.device.spool import Spool
from edge_resad.device.telegram import Telegram
from edge_resad.messages import (
    Moment,
    Reply,
    ReplyMessage,
    Reported,
    ReportedMessage,
    SigningKey,
    command_message,
    read_key,
    read_message,
)
from tests.device.commanded import ADDRESS, station_file
from tests.mqtt_peers import eventually

WAIT_S = 60.0  # a deadline, not a pause


class Wire:
    """Where a publisher would be."""

    def __init__(self) -> None:
        self.said: list[Telegram] = []
        self._handlers: dict[str, Handler] = {}

    def subscribe(self, topic_filter: str, handler: Handler, /) -> Callable[[], None]:
        """Remember who hears."""
        self._handlers[topic_filter] = handler
        return lambda: None

    def say(self, telegram: Telegram, /) -> None:
        """Remember what was said."""
        self.said.append(telegram)

    def hear(self, topic: str, payload: bytes, **about: Any) -> None:
        """A message comes."""
        name = "+" if "/cmd/" in topic else ""
        handler = self._handlers[topic.rpartition("/")[0] + "/+" if name else topic]
        handler(Heard(topic=topic, payload=payload, **about))

    def replies(self, command_id: str | None = None) -> list[Reply]:
        """Everything that was answered, or what was to one command."""
        found = [read_message(said.payload) for said in list(self.said) if "/rsp/" in said.topic]
        replies = [message.data for message in found if isinstance(message, ReplyMessage)]
        return [reply for reply in replies if command_id in (None, reply.command_id)]

    def answered(self, command_id: str, times: int = 1) -> list[Reply]:
        """Wait for so many answers to a command."""
        assert eventually(lambda: len(self.replies(command_id)) >= times, WAIT_S), self.replies()
        return self.replies(command_id)

    def reported(self, version: int | None) -> Reported:
        """Wait for a report of the configuration that holds, with this version."""
        found: list[Reported] = []

        def came() -> bool:
            messages = [read_message(said.payload) for said in list(self.said) if said.topic == ADDRESS.reported_topic]
            reports = [message.data for message in messages if isinstance(message, ReportedMessage)]
            found[:] = [report for report in reports if report.version == version]
            return bool(found)

        assert eventually(came, WAIT_S), self.said
        return found[-1]


class Line:
    """What is there to be commanded: every trigger is a line in a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "triggered"
        self.controls = Controls()
        self.controls.register("trigger", self._trigger, "trigger")
        self.controls.register("threshold", lambda _: {"threshold": {}}, "threshold")

    def _trigger(self, _arguments: dict[str, Any]) -> Mapping[str, Any]:
        with self._file.open("a") as file:
            file.write("part\n")
        return {"triggered": ["cam0"]}

    @property
    def triggered(self) -> int:
        """How many parts there were."""
        return len(self._file.read_text().splitlines()) if self._file.exists() else 0


@contextmanager
def commanded(
    folder: Path, *, moment: Callable[[], Moment] | None = None, ledger: Path | None = None
) -> Iterator[tuple[Wire, Line, Commands]]:
    """Commands that act, with the keys of a folder."""
    more = {} if ledger is None else {"ledger": str(ledger)}
    told, wire, line = station_file(folder, 1, commands=more), Wire(), Line(folder)
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(folder / "spool.db", max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0))
        commands = Commands(told, wire, spool, moment=moment)
        commands.begin(line.controls, Errands(), [], None)
        stack.enter_context(commands)
        yield wire, line, commands


def trigger(folder: Path, command_id: str, *, wall: float | None = None, expires_s: float = 600.0) -> bytes:
    """A signed command to trigger."""
    key: SigningKey = read_key(folder / "operator.key")
    about: dict[str, Any] = {"issued_by": "anna", "expires_s": expires_s, "host": "office", "key": key}
    return command_message(
        ADDRESS, "trigger", command_id=command_id, wall=time.time() if wall is None else wall, **about
    )


def main(folder: Path, command_ids: list[str]) -> None:
    commands_module.FLUSH_S = commands_module.CLOSE_S = WAIT_S  # no disk hangs here, but it may be busy
    with commanded(folder) as (wire, _, _):
        for command_id in command_ids:
            file = folder / f"{command_id}.json"
            if command_id == "config":
                wire.hear(ADDRESS.desired_topic, file.read_bytes())
                wire.reported(1)
                continue
            wire.hear(ADDRESS.command_topic("trigger"), file.read_bytes())
            wire.answered(command_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
