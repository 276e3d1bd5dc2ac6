"""Both ends of a collector: a station that keeps what was not acknowledged, and the collector as its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.messages import Acknowledgement, read_message
from tests.fleet.letters import Writer

CHECKOUT = Path(__file__).resolve().parent.parent.parent


_MOST_SELDOM_S = 5.0  # or a collector that is slow would have ever more to do


@dataclass
class _Unacknowledged:
    topic: str
    payload: bytes
    pause_s: float  # until it goes again
    sent_at: float  # monotonic


class ScriptedStation:
    """Sends again, ever more seldom, what no collector has acknowledged, as a station's spool does."""

    def __init__(self, port: int, writer: Writer, *, again_s: float = 0.3, password: str | None = None) -> None:
        self.writer = writer
        self.acknowledgements: list[Acknowledgement] = []
        self._port = port
        self._again_s = again_s
        self._lock = threading.Lock()
        self._waiting: dict[int, _Unacknowledged] = {}
        self._next = 1
        self._stopping = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=writer.device, protocol=mqtt.MQTTv5, reconnect_on_failure=True
        )
        if password is not None:
            self._client.username_pw_set(writer.device, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(writer.address.ack_topic, qos=1)
        self._client.on_message = self._on_message

    def __enter__(self) -> ScriptedStation:
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._send_again, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(60)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def generated(self) -> int:
        return self._next - 1

    @property
    def waiting(self) -> int:
        with self._lock:
            return len(self._waiting)

    def judge(self, count: int) -> None:
        """Judge so many parts; every tenth begins and ends an alert."""
        for _ in range(count):
            seq = self._next
            if seq % 10 == 0:
                self.say(seq, self.writer.alert(seq, "new", alert_id=f"{self.writer.device}-a{seq}"))
                self.say(seq + 1, self.writer.alert(seq + 1, "end", alert_id=f"{self.writer.device}-a{seq}"))
            else:
                self.say(seq, self.writer.verdict(seq, "fail" if seq % 7 == 0 else "pass"))

    def say(self, seq: int, arrival: Any) -> None:
        """Send it until it is acknowledged."""
        with self._lock:
            self._waiting[seq] = _Unacknowledged(arrival.topic, arrival.payload, self._again_s, time.monotonic())
            self._next = seq + 1
        self._publish(arrival.topic, arrival.payload)

    def _send_again(self) -> None:
        while not self._stopping.wait(self._again_s):
            if not self._client.is_connected():
                continue
            now = time.monotonic()
            with self._lock:
                due = [one for one in self._waiting.values() if now >= one.sent_at + one.pause_s][:200]
            for one in due:
                one.sent_at, one.pause_s = now, min(2 * one.pause_s, _MOST_SELDOM_S)
                self._publish(one.topic, one.payload)

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._client.is_connected():
            self._client.publish(topic, payload, qos=1)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        said = read_message(bytes(message.payload)).data
        assert isinstance(said, Acknowledgement)
        self.acknowledgements.append(said)
        with self._lock:
            for first, last in said.stored:
                for seq in range(first, last + 1):
                    self._waiting.pop(seq, None)


class Collector:
    """`edge-resad fleet ingest` in a process of its own."""

    def __init__(
        self, folder: Path, broker: int, url: str, *, name: str = "c1", more: str = "", broker_more: str = ""
    ) -> None:
        self.config = folder / f"{name}.toml"
        self._log = folder / f"{name}.log"
        self.config.write_text(
            f'[broker]\nhost = "127.0.0.1"\nport = {broker}\n{broker_more}'
            "reconnect_min_s = 0.1\nreconnect_max_s = 0.5\n"
            f'[collector]\nid = "{name}"\nbatch = 50\n[store]\nurl = "{url}"\n{more}'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Collector:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, crash_at: str | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "EDGE_RESAD_CRASH_AT"}
        if crash_at is not None:
            environment["EDGE_RESAD_CRASH_AT"] = crash_at
        command = [sys.executable, "-m", "edge_resad", "fleet", "ingest", str(self.config)]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(60)
        self.process = None
        return code

    def ended(self) -> int | None:
        assert self.process is not None
        return self.process.poll()

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""
