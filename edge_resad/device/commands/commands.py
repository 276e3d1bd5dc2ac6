"""Commands: what the fleet tells a station over MQTT, checked, done once, answered and written down."""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from edge_resad.clock_floor import is_set
from edge_resad.device.commands.audit import Audit
from edge_resad.device.commands.ledger import Answer, Ledger, Record
from edge_resad.device.commands.orders import SLOW, Orders
from edge_resad.device.commands.tuning import Tuning
from edge_resad.device.control import Controls
from edge_resad.device.crash_points import reach
from edge_resad.device.errands import Errands
from edge_resad.device.hearing import Handler, Heard
from edge_resad.device.pictures.pictures import Pictures
from edge_resad.device.ration import Ration
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.telegram import Telegram
from edge_resad.device.worker import Worker
from edge_resad.errors import ControlError, EdgeResadError
from edge_resad.messages import (
    Arguments,
    Capture,
    Command,
    Desired,
    Moment,
    Restart,
    SigningKey,
    audit_message,
    is_id,
    read_command,
    read_desired,
    read_key,
    reply_message,
    reported_message,
)

log = logging.getLogger(__name__)

LARGEST = 64 * 1024  # bytes of a command
WAITING = 64  # commands that wait to be looked at
UPLOADS = 16  # commands that wait for the thread of slow ones
SKEW_S = 300.0  # how far a command may seem to come from the future
REPLY_S = 3600.0  # how long an answer waits for a connection
SHORT_SENTENCE = 100  # letters of one where the broker takes no more
LONGEST_SENTENCE = 500  # letters of what is said to others
SAID_REFUSALS = 20  # refusals of nobody known that are answered and written down within a minute; the rest is counted
FLUSH_S = 1.0  # how long the outbox may take for a line of the audit before the next start writes it once more
CLOSE_S = 1.0

Refusal = Literal["too_large", "too_many", "retained", "unreadable", "signature", "repeated", "no_ledger"]


class Wire(Protocol):
    """The publisher, as far as commands need it."""

    def subscribe(self, topic_filter: str, handler: Handler, /) -> Callable[[], None]: ...

    def say(self, telegram: Telegram, /) -> None: ...


class Lane(Protocol):
    """A camera's lane, as far as it is tuned."""

    def debounce(self, k: int, n: int) -> None: ...


@dataclass(frozen=True)
class _Came:
    heard: Heard
    mono: float  # when


class Commands:
    """Hears from the moment it is made and acts from the moment it is entered, in threads of its own.

    A command is noted in the ledger before it is begun and once more when it has ended, so that one that comes again
    is answered and not done again, whatever killed the station in between.
    """

    def __init__(
        self,
        settings: StationFile,
        wire: Wire,
        spool: Spool,
        *,
        moment: Callable[[], Moment] | None = None,
    ) -> None:
        """moment: who knows the time, and whether it can be trusted.

        Raises:
            SettingsError: a key cannot be read.
        """
        told, station = settings.commands, settings.station
        self.counts: Counter[str] = Counter()  # what became of commands
        self.refused: Counter[Refusal] = Counter()  # messages that were no command of ours, by what was wrong
        self._settings = settings
        self._told = told
        self._address = station.address
        keys = [read_key(path).for_device(self._address) for path in told.keys]
        self._keys: Sequence[SigningKey] = keys
        self._wire = wire
        self._spool = spool
        self._moment = moment or spool.moment
        self._came: queue.Queue[_Came | None] = queue.Queue(WAITING)
        self._slow: queue.Queue[tuple[Record, Arguments] | None] = queue.Queue(UPLOADS)
        self._captures: queue.Queue[tuple[Record, str] | None] = queue.Queue()  # with their folders; one is taken
        self._folders: dict[str, str] = {}  # command_id -> folder of a capture that is being taken
        self._ledger = Ledger(told.ledger)
        self._audit = Audit(told.audit, max_bytes=told.audit_mb * 10**6, keep=told.audit_keep)
        self._audit_lock = threading.Lock()
        self._begun: set[str] = set()  # ids of what this run of the station began and has not ended in the ledger
        self._unnoted: dict[str, Answer] = {}  # ends that the ledger did not take
        self._ration = Ration(SAID_REFUSALS)  # of refusals of nobody known that are said
        self._reports = 0
        self._problem: str | None = None  # why nothing can be done at all
        self._workers: list[Worker] = []
        self._closing = threading.Event()
        self._open = ExitStack()
        for topic_filter in (self._address.command_topic("x").removesuffix("x") + "+", self._address.desired_topic):
            self._open.callback(wire.subscribe(topic_filter, self._hear))

    def begin(
        self,
        controls: Controls,
        errands: Errands,
        lanes: Sequence[Lane],
        pictures: Pictures | None,
    ) -> Commands:
        """Say who carries commands out; then it can be entered."""
        self._tuning = Tuning(self._settings, controls, errands, lanes, pictures)
        self._orders = Orders(
            controls,
            self._tuning,
            self._told,
            self._address,
            self._keys,
            stop=self._closing,
            config_changed=self._report,
        )
        self._controls = controls
        return self

    def __enter__(self) -> Commands:
        """Where the ledger cannot be opened every command is refused, and the line runs all the same."""
        try:
            self._open.enter_context(self._ledger)
        except ControlError as error:
            log.warning("%s Until the next start every command is refused.", error)
            self._problem = str(error)
            return self
        self._workers = [
            Worker(self._work, name="commands", closing=self._closing),
            Worker(self._work_slowly, name="uploads", closing=self._closing),
            Worker(self._watch_captures, name="captures", closing=self._closing),
        ]
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        queues: tuple[queue.Queue[Any], ...] = (self._came, self._slow, self._captures)
        for waiting in queues:
            with suppress(queue.Full):  # a worker with work to do needs no waking
                waiting.put_nowait(None)
        until = time.monotonic() + CLOSE_S
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))
        if any(worker.is_alive() for worker in self._workers):
            log.warning("a command hangs; it is answered as interrupted with the next start")
            return  # and keeps its ledger
        self._open.close()

    # In the publisher's thread: quick

    def _hear(self, heard: Heard) -> None:
        if self._problem is not None:
            self._refuse("no_ledger", heard, self._problem.rstrip("."), write=False)
            return
        if len(heard.payload) > LARGEST:
            self._refuse("too_large", heard, f"it has {len(heard.payload)} bytes, more than {LARGEST}", write=False)
            return
        try:
            self._came.put_nowait(_Came(heard, time.monotonic()))
        except queue.Full:
            self._refuse("too_many", heard, f"{WAITING} others wait. Send it again later", write=False)

    # In a thread of its own

    def _work(self) -> None:
        self._settle_earlier()
        self._resume_settings()
        self._ledger.note_horizon(self._moment())
        while not self._closing.is_set():
            came = self._came.get()
            if came is not None:
                self._take(came)

    def _work_slowly(self) -> None:
        while not self._closing.is_set():
            waiting = self._slow.get()
            if waiting is not None:
                record, arguments = waiting
                self._finish(record, self._carry_out(arguments))

    def _watch_captures(self) -> None:
        while not self._closing.is_set():
            waiting = self._captures.get()
            if waiting is not None:
                record, folder = waiting
                self._finish(record, self._orders.await_capture(folder))
                self._folders.pop(record.command_id, None)

    def _take(self, came: _Came) -> None:
        heard = came.heard
        try:
            if heard.topic == self._address.desired_topic:
                self._take_desired(heard)
            else:
                self._take_command(came)
        except sqlite3.Error as error:  # what is not noted is not begun
            self._refuse("no_ledger", heard, f"the ledger of commands takes nothing ({error}). Make room on its disk")
        except Exception:  # whatever somebody sent, the next one may be a command
            log.exception("a message on %s could not be dealt with", heard.topic)
            self.refused["unreadable"] += 1

    def _take_command(self, came: _Came) -> None:
        heard = came.heard
        if heard.retain:
            self._refuse("retained", heard, "it is retained, and would come again and again. Send it without")
            return
        try:
            command, arguments = read_command(
                heard.topic, heard.payload, to=self._address, keys=None if self._told.allow_unsigned else self._keys
            )
            role = self._role(command, heard.payload)
        except ValueError as error:
            kind: Refusal = "signature" if type(error).__name__ == "SignatureRefused" else "unreadable"
            self._refuse(kind, heard, _sentence(error))
            return
        reach("command-heard")
        record = Record(
            command_id=command.command_id,
            digest=_digest(command),
            command=command.command,
            issued_by=command.issued_by,
            issued_wall_s=command.issued_wall_s,
            role=role,
            arguments=dict(command.arguments),
        )
        known = self._ledger.find(record.command_id)
        if known is not None:
            self._answer_again(record, known, heard)
            return
        answer = self._too_late(command, came)
        if answer is not None:
            self._end_at_once(replace(record, answer=answer), heard)
            return
        self._begin(record, arguments, heard)

    def _role(self, command: Command, payload: bytes) -> str | None:
        """Whose key signed it, where it was checked."""
        return None if self._told.allow_unsigned or command.signature is None else command.signature.role

    def _answer_again(self, record: Record, known: Record, heard: Heard) -> None:
        if known.digest != record.digest:
            self._refuse("repeated", heard, "another command has used this command_id. Choose a new one")
            return
        self.counts["again"] += 1
        answer = known.answer or self._unnoted.get(record.command_id) or self._so_far(record.command_id)
        self._reply(known, answer, heard, again=True)

    def _so_far(self, command_id: str) -> Answer:
        """How far a command is that is being done."""
        folder = self._folders.get(command_id)
        sentence = "It is being done." if folder is None else self._orders.captured(folder)
        return Answer(status="accepted", sentence=sentence)

    def _too_late(self, command: Command, came: _Came) -> Answer | None:
        """Why a command may not begin any more; None where it may."""
        now = self._moment()
        left_s = None if came.heard.expiry_s is None else came.heard.expiry_s - (now.mono - came.mono)
        waited_s = now.mono - came.mono
        if (left_s is not None and left_s <= 0) or waited_s >= command.expires_s:
            return Answer(status="expired", sentence="It waited until it was too late, and was not done.")
        if not self._ledger.note_horizon(now):
            return Answer(
                status="refused",
                sentence="This station's ledger of commands was damaged, and its clock is not set or behind: what was "
                "done before is not known. Set the clock, and send a new one.",
            )
        if command.issued_wall_s <= self._ledger.horizon_s or self._is_from_before_a_loss(command, left_s, now):
            return Answer(
                status="refused",
                sentence="It is older than what this station remembers, and may have been done. Send a new one.",
            )
        if is_set(now.wall) and (now.clock_synced is not False or left_s is None):
            if command.expired(now.wall):
                late_s = now.wall - command.issued_wall_s - command.expires_s
                return Answer(status="expired", sentence=f"It came {late_s:.0f} s too late, and was not done.")
            if command.issued_wall_s > now.wall + SKEW_S:
                early_s = command.issued_wall_s - now.wall
                sentence = f"It was issued {early_s:.0f} s in the future. Set the clocks right."
                return Answer(status="refused", sentence=sentence)
            return None
        if left_s is None:
            return Answer(
                status="refused",
                sentence="This station's clock is not set and the broker does not say how old the command is. Set the "
                "clock, or use MQTT 5 with a message expiry.",
            )
        return None  # the broker's word for how old it is, counted on by the clock that never jumps

    def _is_from_before_a_loss(self, command: Command, left_s: float | None, now: Moment) -> bool:
        """Whether the broker says that it is older than the loss of the ledger, where no clock is known to be right."""
        lost_mono = self._ledger.lost_mono
        if lost_mono is None or left_s is None or now.clock_synced:
            return False
        return now.mono - (command.expires_s - left_s) <= lost_mono

    def _end_at_once(self, record: Record, heard: Heard) -> None:
        """Not done, for a reason that stays."""
        assert record.answer is not None
        self._note(record)
        self.counts[record.answer.status] += 1
        self._write_down(record)
        self._reply(record, record.answer, heard)

    def _note(self, record: Record) -> None:
        """In the ledger, and where there is room again the ends that it did not take."""
        self._ledger.begin(record)
        for command_id, answer in list(self._unnoted.items()):
            try:
                self._ledger.finish(command_id, answer)
            except sqlite3.Error:  # said when it was not taken
                return
            del self._unnoted[command_id]
            self._begun.discard(command_id)

    def _begin(self, record: Record, arguments: Arguments, heard: Heard) -> None:
        self._note(record)
        reach("command-begun")
        self._begun.add(record.command_id)
        log.info("%s tells this station: %s %s", record.issued_by, record.command, _shown(record.arguments))
        if isinstance(arguments, Restart):  # the answer must be on its way before we are gone
            self._finish(record, Answer(status="done", sentence="The station ends now, to be started again."), heard)
            self._controls.answer("restart", {})
            return
        if isinstance(arguments, SLOW):
            self._reply(record, Answer(status="accepted", sentence="It is on its way."), heard)
            try:
                self._slow.put_nowait((record, arguments))
            except queue.Full:
                sentence = f"{UPLOADS} others wait to be sent. Ask again later."
                self._finish(record, Answer(status="failed", sentence=sentence))
            return
        answer = self._carry_out(arguments)
        if isinstance(arguments, Capture) and answer.status == "done" and answer.result is not None:
            # Frames come with the parts, however long that takes: it is done when they are there.
            folder = self._folders[record.command_id] = str(answer.result["folder"])
            self._reply(record, replace(answer, status="accepted"), heard)
            self._captures.put((record, folder))
            return
        self._finish(record, answer, heard)

    def _carry_out(self, arguments: Arguments) -> Answer:
        try:
            answer = self._orders.carry_out(arguments)
        except Exception:
            log.exception("a command could not be carried out")
            answer = Answer(status="failed", sentence="A fault of this program; the station's log says more.")
        reach("command-carried-out")
        return answer

    def _finish(self, record: Record, answer: Answer, heard: Heard | None = None) -> None:
        try:
            self._ledger.finish(record.command_id, answer)
        except sqlite3.Error as error:  # done, and answered; noted with the next command that is
            log.warning("the ledger %s takes nothing: %s. Make room", self._told.ledger, error)
            self._unnoted[record.command_id] = answer
        reach("command-noted")
        self.counts[answer.status] += 1
        ended = replace(record, answer=answer)
        self._write_down(ended)
        reach("command-audited")
        self._reply(ended, answer, heard)
        if record.command_id not in self._unnoted:
            self._begun.discard(record.command_id)

    # After a crash

    def _settle_earlier(self) -> None:
        for record in self._ledger.unsettled():
            if record.command_id in self._begun:  # this thread began anew, not the station
                continue
            if record.answer is None:
                answer = Answer(
                    status="failed",
                    sentence="It was interrupted: the station ended while it was done. Whether it took effect is not "
                    "known; it is not done again.",
                )
                self._ledger.finish(record.command_id, answer)
                self.counts["failed"] += 1
                record = replace(record, answer=answer)
            assert record.answer is not None
            self._write_down(record)
            self._reply(record, record.answer, None)

    # Configuration

    def _take_desired(self, heard: Heard) -> None:
        if not heard.payload:  # nobody wishes anything any more; what holds goes on
            return
        try:
            desired = read_desired(
                heard.topic, heard.payload, to=self._address, keys=None if self._told.allow_unsigned else self._keys
            )
        except ValueError as error:
            kind: Refusal = "signature" if type(error).__name__ == "SignatureRefused" else "unreadable"
            self.refused[kind] += 1
            if self._ration.take():
                log.warning("a configuration is refused: %s", _sentence(error))
            return
        last = self._ledger.fact("desired")
        if last is not None and desired.version <= last["version"]:
            self._report()
            return
        applied = self._applied(desired)
        reach("config-applied")
        self._ledger.remember("desired", applied)
        reach("config-remembered")
        self._report()
        self._write_down_desired(desired)

    def _applied(self, desired: Desired) -> dict[str, Any]:
        settings = dict(desired.settings)
        before = (self._ledger.fact("desired") or {}).get("settings", {})
        wrong = self._tuning.refused(settings)
        if not wrong:
            try:
                self._tuning.put(settings)
            except EdgeResadError as error:
                wrong = {"all": str(error)}
                self._put_back(before)
        if wrong:
            sentence = "; ".join(f"{name} {why}" for name, why in wrong.items())
            log.warning("the configuration %d is refused: %s", desired.version, sentence)
            about = {"status": "refused", "sentence": "Nothing of it holds.", "refused": wrong, "settings": before}
            return {"version": desired.version, **about}
        log.info("%s configures this station: version %d %s", desired.issued_by, desired.version, _shown(settings))
        return {"version": desired.version, "status": "applied", "sentence": None, "settings": settings}

    def _put_back(self, settings: dict[str, Any]) -> None:
        try:
            self._tuning.put(settings)
        except EdgeResadError as error:
            log.warning("the settings could not be put back: %s", error)

    def _resume_settings(self) -> None:
        """What the fleet wished holds over a restart too."""
        last = self._ledger.fact("desired")
        if last is not None and last["settings"] and last["settings"] != self._tuning.held:
            wrong = self._tuning.refused(last["settings"])
            if wrong:
                log.warning("the fleet's configuration does not fit any more: %s", wrong)
            else:
                self._put_back(last["settings"])
        self._report()

    def _report(self) -> None:
        last = self._ledger.fact("desired") or {}
        self._reports += 1
        now = self._moment()
        payload = reported_message(
            self._address,
            now,
            event_id=f"cfg-{now.boot_id[:8]}-{int(now.mono * 1000)}-{self._reports}",
            settings=self._tuning.current(),
            version=last.get("version"),
            status=last.get("status"),
            sentence=last.get("sentence"),
            refused=last.get("refused"),
        )
        self._wire.say(Telegram(topic=self._address.reported_topic, payload=payload, qos=1, retain=True))

    def _write_down_desired(self, desired: Desired) -> None:
        last = self._ledger.fact("desired")
        answer = Answer(status="done" if last["status"] == "applied" else "refused", sentence=last.get("sentence"))
        self._write_down(
            Record(
                command_id=f"desired-{desired.version}",
                digest="",
                command="cfg-desired",
                issued_by=desired.issued_by,
                issued_wall_s=desired.issued_wall_s,
                role=None if self._told.allow_unsigned or desired.signature is None else desired.signature.role,
                arguments={"version": desired.version, "settings": dict(desired.settings)},
                answer=answer,
            )
        )

    # What is said and written

    def _write_down(self, record: Record) -> None:
        """For people: into the audit, and into the spool for the fleet."""
        assert record.answer is not None
        about = {
            "command_id": record.command_id, "command": record.command, "arguments": dict(record.arguments),
            "issued_by": record.issued_by, "issued_wall_s": record.issued_wall_s, "role": record.role,
            "status": record.answer.status, "sentence": _one_line(record.answer.sentence or "") or None,
        }  # fmt: skip
        stamp = self._spool.put(self._address.audit_topic, partial(audit_message, self._address, about=about))
        reach("audit-put")
        written = self._append({"written_wall_s": self._moment().wall, **about})
        reach("audit-written")
        if self._spool.flush(FLUSH_S) and self._spool.is_committed(stamp.seq) and written:
            with suppress(sqlite3.Error):  # then it is written down once more, after the next start
                self._ledger.audited(record.command_id)

    def _append(self, line: dict[str, Any]) -> bool:
        try:
            with self._audit_lock:
                self._audit.append(line)
        except OSError as refused:
            log.warning("%s takes no line: %s. Make room; commands go on", self._told.audit, refused.strerror)
            self.counts["audit_lines_lost"] += 1
            return False
        return True

    def _reply(self, record: Record, answer: Answer, heard: Heard | None, *, again: bool = False) -> None:
        compose = partial(
            reply_message,
            self._address,
            self._moment(),
            command_id=record.command_id,
            command=record.command,
            status=answer.status,
            again=again,
        )
        self._wire.say(
            Telegram(
                topic=self._address.reply_topic(record.command_id),
                payload=compose(sentence=answer.sentence, result=answer.result),
                short=compose(sentence=_short(answer), result=None),
                qos=1,
                expiry_s=REPLY_S,
                correlation=heard.correlation if heard is not None else None,
            )
        )

    def _refuse(self, kind: Refusal, heard: Heard, why: str, *, write: bool = True) -> None:
        """Count what is no command of ours. Who sent it is not known, so only some of them are answered.

        write: into the audit, for which the publisher's thread has no time.
        """
        self.refused[kind] += 1
        self.counts["refused"] += 1
        if not self._ration.take():
            return
        log.warning("a message on %s is refused: %s", heard.topic, why)
        named = _named(heard.payload) if len(heard.payload) <= LARGEST else None
        command_id, command, issued_by = named or (None, None, None)
        line = {"command_id": command_id, "command": command, "issued_by": issued_by, "status": "refused"}
        if write:
            self._append({"written_wall_s": self._moment().wall, **line, "sentence": why, "topic": heard.topic})
        if command_id is not None and command is not None:
            nobody = {"digest": "", "issued_by": "", "issued_wall_s": 0.0, "role": None, "arguments": {}}
            record = Record(command_id=command_id, command=command, **nobody)  # type: ignore[arg-type]
            self._reply(record, Answer(status="refused", sentence=f"{why[:1].upper()}{why[1:]}."), heard)


def _sentence(error: ValueError) -> str:
    """What is wrong, in one line that is not too long."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg']}" if where else str(first["msg"])
    else:
        said = str(error)
    return _one_line(said)


def _one_line(text: str) -> str:
    shown = " ".join(text.encode(errors="backslashreplace").decode().split())
    return "".join(letter if letter.isprintable() else "?" for letter in shown)[:LONGEST_SENTENCE]


def _short(answer: Answer) -> str:
    """What is said where the broker takes no message as large as the answer."""
    left = "The rest of this answer is larger than the broker takes. Let it take larger messages, and ask again."
    return f"{(answer.sentence or '')[:SHORT_SENTENCE]} {left}".strip()


def _digest(command: Command) -> str:
    about = json.dumps([command.command, command.arguments], sort_keys=True)
    return hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()


def _named(payload: bytes) -> tuple[str, str, str | None] | None:
    """The id and the name of a command that is refused, as far as they can be read."""
    try:
        said = json.loads(payload)["data"]
        command_id, command, by = said["command_id"], said["command"], said.get("issued_by")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not (isinstance(command_id, str) and isinstance(command, str) and is_id(command_id) and is_id(command)):
        return None
    if len(command_id) > 48:
        return None
    return command_id, command, by[:128] if isinstance(by, str) and by.isprintable() else None


def _shown(arguments: dict[str, Any] | Any) -> str:
    text = " ".join(f"{name}={value}" for name, value in dict(arguments).items())
    return text if len(text) <= 200 else f"{text[:200]}..."
