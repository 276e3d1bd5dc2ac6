"""Faults on the way to the fleet: a broker that is frozen, away, or refuses."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks.faults.camera_faults import Play
from benchmarks.faults.scene import Outcome, Scene, Stage
from edge_resad.device.spool import Spool
from tests.mqtt_peers import MOSQUITTO, Mosquitto, Relay, Subscriber

FROZEN_S, AWAY_S, REFUSES_S = 20.0, 20.0, 5.0
KEEPALIVE_S = 5
NOBODY = "no mosquitto: apt-get install mosquitto"
OPEN = "topic readwrite #\n"
SHUT = "topic read #\n"


def is_frozen(stage: Stage) -> Outcome:
    """SIGSTOP, then SIGCONT."""
    fault = f"broker frozen by SIGSTOP for {FROZEN_S:.0f} s"
    with ExitStack() as stack:
        scene = _scene(stage, "broker-frozen", stack)
        if scene is None:
            return Outcome(fault=fault, skipped=NOBODY)
        freeze, thaw = partial(scene.broker.signal, signal.SIGSTOP), partial(scene.broker.signal, signal.SIGCONT)
        return scene.play(fault, freeze, thaw, lasts_s=FROZEN_S)


def is_away(stage: Stage) -> Outcome:
    """Its connections end and nobody listens at its address."""
    fault = f"broker away for {AWAY_S:.0f} s"
    with ExitStack() as stack:
        scene = _scene(stage, "broker-away", stack)
        if scene is None:
            return Outcome(fault=fault, skipped=NOBODY)
        return scene.play(fault, scene.close_gate, scene.open_gate, lasts_s=AWAY_S)


def refuses(stage: Stage) -> Outcome:
    """Its access list lets the station write nothing any more."""
    fault = f"broker refuses every message for {REFUSES_S:.0f} s"

    with ExitStack() as stack:
        scene = _scene(stage, "broker-refuses", stack)
        if scene is None:
            return Outcome(fault=fault, skipped=NOBODY)
        return scene.play(fault, partial(scene.allow, SHUT), partial(scene.allow, OPEN), lasts_s=REFUSES_S)


class BrokerScene:
    """A station, a real broker behind a gate, and a reader who is at the broker's side of it."""

    def __init__(self, stage: Stage, name: str, broker: Mosquitto, ear: Subscriber, stack: ExitStack) -> None:
        self.broker = broker
        self._ear = ear
        self._stack = stack
        self._gate = stack.enter_context(Relay(broker.port))
        told = {
            "broker": {
                "host": "127.0.0.1",
                "port": self._gate.port,
                "keepalive_s": KEEPALIVE_S,
                "reconnect_max_s": 5.0,
            }
        }
        self._scene = stack.enter_context(Scene(stage, name, sections=told))

    def close_gate(self) -> None:
        """Nobody comes through any more."""
        self._gate.__exit__(None, None, None)

    def open_gate(self) -> None:
        """Everybody may come through again."""
        self._gate = self._stack.enter_context(Relay(self.broker.port, self._gate.port))

    def allow(self, acl: str) -> None:
        """Change the broker's access list."""
        self.broker.allow(acl)
        self.broker.signal(signal.SIGHUP)

    def play(self, fault: str, begin: Callable[[], None], end: Callable[[], None], *, lasts_s: float) -> Outcome:
        """Let it happen; it is over when the reader has all that was judged until it ended."""
        scene = self._scene
        scene.until_judged()
        scene.until(lambda: self._heard() >= 1)
        begin()
        scene.begin()
        scene.last_for(lasts_s)
        end()
        scene.end()
        judged = len(scene.judged)
        scene.until(lambda: self._heard() >= judged)
        recovered_s = time.monotonic() - scene.ended_at
        return scene.outcome(fault, recovered_s=recovered_s, words=("broker",), stored=self._all_heard)

    def _heard(self) -> int:
        """Of how many parts the reader knows."""
        return len({json.loads(heard.payload)["id"] for heard in self._ear.on("/evt/")})

    def _all_heard(self) -> int:
        """The same when the station has ended, with what waits for its next start."""
        with Spool(self._scene.folder / "spool.db", max_bytes=10**9) as spool:
            waiting = {spool.event_id(letter) for letter in spool.oldest(100_000) if "/evt/" in letter.topic}
        return len({json.loads(heard.payload)["id"] for heard in self._ear.on("/evt/")} | waiting)


def _scene(stage: Stage, name: str, stack: ExitStack) -> BrokerScene | None:
    """None where there is no broker here."""
    if MOSQUITTO is None:
        return None
    broker = stack.enter_context(Mosquitto(stage.folder / f"{name}-broker", acl=OPEN))
    ear = stack.enter_context(Subscriber(broker.port))
    return BrokerScene(stage, name, broker, ear, stack)


BROKER_FAULTS: dict[str, Play] = {"broker-frozen": is_frozen, "broker-away": is_away, "broker-refuses": refuses}
