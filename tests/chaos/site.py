"""A site to break: stations, a broker with TLS and an access list, a collector, its store, and bad wires."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edge_resad.device.spool_look import look
from edge_resad.errors import SpoolError
from tests.device.certificates import make_certificate
from tests.mqtt.fault_proxy import FaultProxy
from tests.mqtt_peers import MOSQUITTO, free_port, make_certificates
from tests.postgres_server import Postgres

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLE = CHECKOUT / "deploy" / "broker"
RECONNECT = {"reconnect_min_s": 0.2, "reconnect_max_s": 2.0, "keepalive_s": 5}


class Victim(Protocol):
    """What can be killed and started again."""

    name: str

    def start(self, crash_at: str | None = None) -> None: ...

    def kill(self) -> None:
        """kill -9: no handler, no flush, no goodbye."""

    @property
    def runs(self) -> bool: ...


class Program:
    """A process with a log of all of its lives."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}  # beside what there is, from the next start on
        self._command, self._log = list(command), log

    def start(self, crash_at: str | None = None) -> None:
        """crash_at: the point in its code where it shall end itself, as EDGE_RESAD_CRASH_AT says."""
        assert self.process is None
        environment = {**os.environ, **self.environment}
        environment.pop("EDGE_RESAD_CRASH_AT", None)
        if crash_at is not None:
            environment["EDGE_RESAD_CRASH_AT"] = crash_at
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(self._command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Station(Program):
    """`tests.chaos.station` with its spool and its history."""

    def __init__(
        self,
        name: str,
        folder: Path,
        port: int,
        *,
        a_second: float,
        quiet: Path,
        authority: Path,
        ack_s: float,
        budget: int,
    ) -> None:
        folder.mkdir()
        self.spool, self.history = folder / "spool.db", folder / "history"
        self._still = folder / "still"
        plan = folder / "plan.json"
        cert, key = make_certificate(folder, name, authority=authority)
        broker = {
            **RECONNECT, "host": "localhost", "port": port,
            "ca_file": str(authority / "ca.pem"), "cert_file": str(cert), "key_file": str(key),
        }  # fmt: skip
        told = {
            "station": {"site": "graz", "line": "l4", "device": name, "product": "bolt"},
            "camera": {"source": "synthetic"},
            "inspection": {"bank": "none.npz"},
            "broker": broker,
            "spool": {"path": str(self.spool), "drain_per_s": 0, "max_messages": budget},
            "log": {"verdicts": False},
            "pictures": {"folder": False},
            "watch": {"blur": 0, "frozen_s": 0, "silent_s": 0},
            "drift": {"on": False},
            "control": {"socket": False},
            "machine": {"watch": False},  # a full disk here is no message
        }
        plan.write_text(
            json.dumps(
                {
                    "station": told,
                    "history": str(self.history),
                    "quiet": str(quiet),
                    "still": str(self._still),
                    "a_second": a_second,
                    "timing": {"ack_s": ack_s, "ack_max_s": 4 * ack_s, "will_delay_s": 1, "puback_s": 10.0},
                }
            )
        )
        super().__init__(name, [sys.executable, "-m", "tests.chaos.station", str(plan)], folder / "log")

    def start(self, crash_at: str | None = None) -> None:
        self._still.unlink(missing_ok=True)
        super().start(crash_at)

    @property
    def waiting(self) -> int | None:
        """Messages in its spool; None where it cannot be asked now."""
        try:
            return sum(count for _, count, _ in look(self.spool).waiting)
        except SpoolError:
            return None

    @property
    def rests(self) -> bool:
        """Of a line that was told to stop: whether its last part is on the disk, and nothing waits any more."""
        return self._still.exists() and self.waiting == 0


class StoreServer:
    """PostgreSQL, which is stopped as a crash stops it."""

    name = "postgresql"

    def __init__(self, server: Postgres) -> None:
        self._server, self.runs = server, True

    def start(self, crash_at: str | None = None) -> None:
        self._server.start()
        self.runs = True

    def kill(self) -> None:
        if self.runs:
            self._server.stop("immediate")
        self.runs = False


class Site:
    """Everything runs when it is entered, and nothing when it is left."""

    def __init__(
        self,
        folder: Path,
        *,
        stations: int,
        a_second: float,
        on: str = "sqlite",
        ack_s: float = 30.0,
        budget: int = 5_000_000,
        seed: int = 0,
        retention: str = "",
    ) -> None:
        """a_second: parts of each station. ack_s: after which a station sends again what no collector acknowledged.
        budget: messages that may wait in an outbox. retention: what the fleet file says in [retention].
        """
        self._budget, self._retention = budget, retention
        self._folder, self._count, self._a_second, self._on, self._ack_s = folder, stations, a_second, on, ack_s
        self._seed = seed
        self._stack = ExitStack()
        self._quiet = folder / "quiet"

    def __enter__(self) -> Site:
        with ExitStack() as stack:
            authority = self._folder / "authority"
            make_certificates(authority)
            port = free_port()
            self.broker = Program("broker", self._mosquitto(authority, port), self._folder / "broker.log")
            self.wires = [stack.enter_context(FaultProxy(port, seed=self._seed + place)) for place in range(2)]
            to_stations, to_collector = self.wires
            self.server: StoreServer | None = None
            self.url = f"sqlite:///{self._folder / 'fleet.db'}"
            if self._on == "postgresql":
                server = stack.enter_context(Postgres("fsync = on"))
                self.server, self.url = StoreServer(server), server.new_database()
            self.collector = self._collector(authority, to_collector.port)
            self._stations_port = to_stations.port
            self.stations: list[Station] = []
            for program in (self.broker, self.collector):
                stack.callback(program.kill)
                program.start()
            self._stack = stack.pop_all()
        try:
            for number in range(1, self._count + 1):
                self.add_station(f"press-{number}")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def victims(self) -> list[Victim]:
        """All that can be killed; PostgreSQL among it, where there is one."""
        return [self.broker, self.collector, *self.stations, *([self.server] if self.server is not None else [])]

    def add_station(self, name: str, *, folder: str | None = None) -> Station:
        """One more, which runs. folder: where its outbox lies; as it is called without it."""
        station = Station(
            name,
            self._folder / (folder or name),
            self._stations_port,
            a_second=self._a_second,
            quiet=self._quiet,
            authority=self._folder / "authority",
            ack_s=self._ack_s,
            budget=self._budget,
        )
        self.stations.append(station)
        self._stack.callback(station.kill)
        station.start()
        return station

    def quiet(self) -> None:
        """Stop the lines: no part comes any more, but each may have one in hand; what waits goes on."""
        self._quiet.touch()

    def _mosquitto(self, authority: Path, port: int) -> list[str]:
        """The example as it stands, with other paths, small queues and a disk that is written seldom."""
        assert MOSQUITTO is not None, "chaos needs the mosquitto broker of the system's packages"
        folder = self._folder / "broker"
        folder.mkdir()
        text = (EXAMPLE / "mosquitto.conf").read_text()
        for example, here in (
            ("/etc/mosquitto/certs", authority),
            ("/etc/mosquitto/edge-resad.acl", folder / "acl"),
            ("listener 8883", f"listener {port} 127.0.0.1"),
            ("autosave_interval 60", "autosave_interval 5"),
            ("max_queued_messages 10000", "max_queued_messages 300"),
        ):
            assert example in text
            text = text.replace(example, str(here))
        (folder / "acl").write_text((EXAMPLE / "acl").read_text())
        (folder / "acl").chmod(0o600)
        (folder / "mosquitto.conf").write_text(f"user root\npersistence_location {folder}/\n{text}")
        return [MOSQUITTO, "-c", str(folder / "mosquitto.conf")]

    def _collector(self, authority: Path, port: int) -> Program:
        cert, key = make_certificate(self._folder, "collector", authority=authority)
        config = self._folder / "fleet.toml"
        reconnect = "\n".join(f"{name} = {value}" for name, value in RECONNECT.items())
        config.write_text(
            f'[broker]\nhost = "localhost"\nport = {port}\nca_file = "{authority / "ca.pem"}"\n'
            f'cert_file = "{cert}"\nkey_file = "{key}"\n{reconnect}\n'
            f'[store]\nurl = "{self.url}"\nraw = "all"\n'
            f"[retention]\n{self._retention}\n"
        )
        command = [sys.executable, "-m", "edge_resad", "fleet", "ingest", str(config)]
        return Program("collector", command, self._folder / "collector.log")
