"""What the fleet's collector does: rows a second, bytes of storage, and how it takes a stampede.

`store` measures reading and storing alone, with one and two processes on one store. `storage` counts what a million
messages take. `way` sends alerts from a station's outbox through a real broker to a real collector and back, plain and
with TLS: alerts a second, and how long one takes until the station knows that it is stored. `stampede` starts a real
broker and collectors, lets many stations connect at once, each with a backlog that it keeps until it is acknowledged,
and waits until every message is stored; with `--tls` each shows a certificate of its own. All of it runs on this
machine, so that stations, broker, store and collectors share its cores: a figure of `stampede` is a floor.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from benchmarks.latency import _machine as machine
from edge_resad.device.publisher import Publisher
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Spool
from edge_resad.fleet.database import opened
from edge_resad.fleet.reading import Arrival, Unreadable, read
from edge_resad.fleet.report import accounts, rejected
from edge_resad.fleet.retention import used_bytes
from edge_resad.fleet.store import Store
from edge_resad.messages import Stamp, alert_message
from tests.device.certificates import make_certificate
from tests.fleet.letters import Writer, judged
from tests.mqtt_peers import Mosquitto, make_certificates
from tests.postgres_server import POSTGRES, Postgres

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
Kind = Literal["sqlite", "postgresql"]
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**31, 2**53, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf")),
    *("", "a" * 5000, "\0", "\ud800", "../..", "'; DROP TABLE verdict; --", [], {}, [[1, 0]], [[1, 10**9]], {"a": 1}),
)
"""What a field may say instead."""
ON_ALL: tuple[Kind, ...] = ("sqlite", "postgresql")
BATCH = 500

OnOption = Annotated[list[str], typer.Option("--on", help="sqlite, postgresql; several times.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@dataclass(frozen=True)
class Rate:
    """Messages a second, through reading and the store."""

    on: str
    collectors: int
    messages: int
    a_second: float
    cpu_us: float  # of the collectors' processes, for each message; the server of PostgreSQL not among it


@app.command()
def store(
    messages: Annotated[int, typer.Option(min=BATCH, help="Verdicts for each collector.")] = 50_000,
    devices: Annotated[int, typer.Option(min=1, help="Stations that they come from.")] = 100,
    on: OnOption = list(ON_ALL),  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
) -> None:
    """Read and store verdicts in batches of 500, with one and two collectors."""
    rates = []
    for kind in on:
        for collectors in (1, 2):
            with _new_store(kind) as url:
                rates.append(asdict(_store_rate(url, kind, collectors, messages, devices)))
    _show("Reading and storing", rates, as_json)


def _show(title: str, rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """A table of them, or JSON, one object a line."""
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(title=f"{title}; {machine()}")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(f"{value:,.1f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


def _store_rate(url: str, kind: str, collectors: int, messages: int, devices: int) -> Rate:
    context: SpawnContext = get_context("spawn")
    ready, go = context.Barrier(collectors + 1), context.Barrier(collectors + 1)
    answers: Any = context.Queue()
    workers = [
        context.Process(target=_store_all, args=(url, number, messages, devices, ready, go, answers))
        for number in range(collectors)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    go.wait()
    cpu = sum(answers.get() for _ in workers)
    took = time.perf_counter() - began
    for worker in workers:
        worker.join()
    total = collectors * messages
    return Rate(kind, collectors, total, total / took, 1e6 * cpu / total)


def _store_all(url: str, number: int, messages: int, devices: int, ready: Any, go: Any, answers: Any) -> None:
    arrivals = list(_verdicts(messages, devices, number))
    with opened(url, writing=True) as engine:
        there = Store(engine)
        ready.wait()
        go.wait()
        before = time.process_time()
        for first in range(0, messages, BATCH):
            there.add([read(arrival) for arrival in arrivals[first : first + BATCH]])
        answers.put(time.process_time() - before)


def _verdicts(count: int, devices: int, part: int = 0) -> Iterator[Arrival]:
    """Verdicts in turn of every station; parts are halves of the stations' streams, as a shared subscription deals."""
    writers = [Writer(device=f"press-{number}", stream_id=f"stream-{number}") for number in range(devices)]
    for number in range(count):
        seq = 2 * (number // devices) + part + 1
        yield writers[number % devices].verdict(seq, "fail" if seq % 50 == 0 else "pass")


@app.command()
def storage(
    messages: Annotated[int, typer.Option(min=1000, help="Messages of each kind that are stored.")] = 20_000,
    on: OnOption = list(ON_ALL),  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Bytes that a million verdicts and a million alerts take, indexes included; settings as they come."""
    rows: list[dict[str, Any]] = []
    for kind in on:
        for what in ("verdicts of good parts", "verdicts of failed parts", "alerts of two messages"):
            with _new_store(kind) as url, opened(url, writing=True) as engine:
                before = _size(engine)
                there = Store(engine)
                for first in range(0, messages, BATCH):
                    there.add([read(arrival) for arrival in _of_kind(what, first, min(BATCH, messages - first))])
                each = (_size(engine) - before) / messages
            rows.append({"on": kind, "what": what, "mb_a_million": round(each, 1)})
    _show("Room of the store", rows, as_json)


def _of_kind(what: str, first: int, count: int) -> list[Arrival]:
    press = Writer()
    if what.startswith("alerts"):
        numbers = range(first, first + count)
        phases: tuple[Literal["new", "end"], ...] = ("new", "end")
        return [
            press.alert(2 * number + 1 + place, phase, alert_id=f"{press.stream_id}-{number}")
            for number in numbers
            for place, phase in enumerate(phases)
        ]
    status = "pass" if "good" in what else "fail"
    return [press.verdict(seq, status) for seq in range(first + 1, first + count + 1)]


def _size(engine: Engine) -> int:
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM")
            asked = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
            return int(connection.exec_driver_sql(asked).scalar_one())
    with engine.connect() as connection:
        return used_bytes(connection)


@app.command()
def fuzz(
    messages: Annotated[int, typer.Option(min=1, help="Random and mutated messages.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the generator.")] = 1,
    on: Annotated[str, typer.Option("--on", help="sqlite or postgresql.")] = "sqlite",
    as_json: JsonOption = False,
) -> None:
    """Random and mutated messages through reading and the store: none may raise, each must be counted."""
    dice = random.Random(seed)
    good = _one_of_each(Writer())
    outcomes: Counter[str] = Counter()
    with _new_store(on) as url, opened(url, writing=True) as engine:
        there = Store(engine, rejected_rows_of_device=messages)  # each is kept, or it could not be counted
        for first in range(0, messages, BATCH):
            spoiled = [_spoil(dice, good) for _ in range(min(BATCH, messages - first))]
            batch = [read(arrival) for arrival in spoiled]
            outcomes.update(type(reading).__name__.lower() for reading in batch)
            receipt = there.add(batch)
            outcomes.update({"stored": receipt.stored, "duplicates": receipt.duplicates, "rejected": receipt.rejected})
        with engine.connect() as connection:
            kept = sum(times for _, times in rejected(connection, most=1_000_000))
    _show(f"{messages} messages, seed {seed}", [dict(sorted(outcomes.items()))], as_json)
    counted = outcomes["letter"] + outcomes["news"] + outcomes["unreadable"]
    if counted != messages or outcomes["rejected"] < outcomes["unreadable"] or kept != outcomes["rejected"]:
        print(f"{messages} came, {counted} were counted; {kept} of {outcomes['rejected']} are kept as not readable")
        raise typer.Exit(1)


def _one_of_each(press: Writer) -> list[Arrival]:
    return [
        press.verdict(1),
        press.verdict(2, "fail"),
        press.not_inspected(3),
        press.alert(4, "new", picture=True),
        press.picture(5, of=4),
        press.fault(6, "new", "black", alert_id="f"),
        press.gap(7, ((1, 1),)),
        press.birth(1),
        press.offline(1),
        press.telemetry(1),
    ]


def _spoil(dice: random.Random, good: list[Arrival]) -> Arrival:
    """A message that is wrong in one of many ways; now and then a good one."""
    arrival = dice.choice(good)
    payload, topic, event_id = bytearray(arrival.payload), arrival.topic, arrival.event_id
    way = dice.randrange(8)
    if way == 0:
        payload = bytearray(dice.randbytes(dice.randrange(200)))
    elif way == 1:
        del payload[dice.randrange(len(payload)) :]
    elif way == 2:
        for _ in range(dice.randrange(1, 9)):
            payload[dice.randrange(len(payload))] = dice.randrange(256)
    elif way == 3:
        topic = dice.choice(good).topic
    elif way == 4:
        place = dice.randrange(len(topic) + 1)
        topic = topic[:place] + dice.choice(("/", "#", "+", "\0", "\ud800", "x" * 70, "$share/")) + topic[place:]
    elif way in (5, 6) and payload.startswith(b"{"):
        said = json.loads(payload)
        where = dice.choice((said, said["data"]))
        where[dice.choice(sorted(where))] = dice.choice(ODD)
        payload = bytearray(json.dumps(said).encode())
    elif way == 7:
        event_id = dice.choice(("", "-", "a-0", "a-" + "9" * 40, "\ud800-1", f"stream-{dice.randrange(50)}-7", None))
    return Arrival(topic, bytes(payload), arrival.received_ms, event_id)


def take(topic: str, payload: bytes) -> None:
    """A reader for `python -m benchmarks.fuzz --also benchmarks.collector:take`."""
    reading = read(Arrival(topic, payload, 0))
    if isinstance(reading, Unreadable):
        raise ValueError(reading.reason)


@app.command()
def way(
    alerts: Annotated[int, typer.Option(min=100, help="Alerts as fast as they go.")] = 20_000,
    paced: Annotated[int, typer.Option(min=100, help="Alerts one by one, whose time is taken.")] = 1000,
    on: OnOption = list(ON_ALL),  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """From a station's outbox into the store and back: alerts a second, and milliseconds until the station knows."""
    rows = [_way(kind, tls=tls, alerts=alerts, paced=paced) for kind in on for tls in (False, True)]
    _show("From the outbox into the store", rows, as_json)


class _TimedSpool(Spool):
    """Takes down when each letter was put and when a collector's word that it is stored came back."""

    def __enter__(self) -> _TimedSpool:
        super().__enter__()
        self.put_at: dict[int, float] = {}
        self.took_s: list[float] = []
        return self

    def acknowledged(self, stream_id: str, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        leaving = super().acknowledged(stream_id, ranges)
        now = time.perf_counter()
        for first, last in leaving:
            self.took_s += [now - self.put_at[seq] for seq in range(first, last + 1) if seq in self.put_at]
        return leaving


def _way(kind: str, *, tls: bool, alerts: int, paced: int) -> dict[str, Any]:
    settings = ["max_inflight_messages 2000", "max_queued_messages 100000", "set_tcp_nodelay true"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="way-", dir=os.getcwd())))
        url = stack.enter_context(_new_store(kind))
        ca = None
        if tls:
            ca, cert, key = make_certificates(folder / "authority")
            settings += [f"certfile {cert}", f"keyfile {key}"]
        broker = stack.enter_context(Mosquitto(folder / "broker", settings=settings))
        collector = stack.enter_context(_collector(folder, broker.port, url, "c0", ca=ca))
        _wait_for(lambda: "connected" in collector.read_text(), 60)
        spool = stack.enter_context(_TimedSpool(folder / "spool.db", max_bytes=1 << 40))
        writer = Writer()
        address = writer.address
        station = StationSection(site=address.site, line=address.line, device=address.device)
        section = BrokerSection(host="localhost", port=broker.port, ca_file=ca, max_inflight=500)
        delivery = SpoolSection(ack="collector", drain_per_s=0)
        publisher = stack.enter_context(Publisher(spool, section, station, birth={}, delivery=delivery))
        _wait_for(lambda: publisher.status.connected, 60)

        def put() -> None:
            began = time.perf_counter()
            stamp = spool.put(address.alert_topic("major"), partial(_alert, writer), kind="alert")
            spool.put_at[stamp.seq] = began

        for _ in range(paced):
            put()
            time.sleep(0.01)
        _wait_for(lambda: spool.waiting() == 0, 120)
        took_ms = sorted(1e3 * seconds for seconds in spool.took_s)
        began = time.perf_counter()
        for _ in range(alerts):
            spool.put(address.alert_topic("major"), partial(_alert, writer), kind="alert")
        _wait_for(lambda: spool.waiting() == 0, 600)
        seconds = time.perf_counter() - began
        with opened(url) as engine, engine.connect() as connection:
            (account,) = accounts(connection)
    return {
        "on": kind,
        "tls": "yes" if tls else "no",
        "alerts": account.stored,
        "lost": account.lost,
        "alerts_a_second": alerts / seconds,
        "stored_p50_ms": statistics.median(took_ms),
        "stored_p99_ms": took_ms[int(0.99 * (len(took_ms) - 1))],
        "stored_max_ms": took_ms[-1],
    }


def _alert(writer: Writer, stamp: Stamp) -> bytes:
    """An alert of a part with one region, as a station writes it."""
    return alert_message(
        writer.address,
        stamp,
        product="bolt",
        camera="cam0",
        verdict=judged("fail", 1.6),
        frame_id=stamp.seq,
        latency_ms=12.5,
        phase="new",
        severity="major",
    )


@contextmanager
def _collector(
    folder: Path, port: int, url: str, name: str, *, ca: Path | None = None, own: tuple[Path, Path] | None = None
) -> Iterator[Path]:
    """`edge-resad fleet ingest` in a process of its own; the file of its log. own: its certificate and key."""
    config, log = folder / f"{name}.toml", folder / f"{name}.log"
    trusted = f'ca_file = "{ca}"\n' if ca is not None else ""
    trusted += f'cert_file = "{own[0]}"\nkey_file = "{own[1]}"\n' if own is not None else ""
    config.write_text(
        f'[broker]\nhost = "localhost"\nport = {port}\n{trusted}[collector]\nid = "{name}"\n[store]\nurl = "{url}"\n'
    )
    with log.open("wb") as said:
        process = subprocess.Popen([sys.executable, "-m", "edge_resad", "fleet", "ingest", str(config)], stderr=said)
    try:
        yield log
    finally:
        process.kill()
        process.wait()


@app.command()
def stampede(
    devices: Annotated[int, typer.Option(min=1, help="Stations that connect at once.")] = 200,
    backlog: Annotated[int, typer.Option(min=1, help="Messages that wait on each.")] = 50,
    collectors: Annotated[int, typer.Option(min=1, max=8)] = 1,
    on: Annotated[str, typer.Option("--on", help="sqlite or postgresql.")] = "sqlite",
    tls: Annotated[bool, typer.Option("--tls", help="TLS, each station with a certificate of its own.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1)] = 300.0,
    as_json: JsonOption = False,
) -> None:
    """Many stations come back at once; every message must be stored and acknowledged."""
    settings = ["max_inflight_messages 2000", "max_queued_messages 100000", "set_tcp_nodelay true"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stampede-")))
        url = stack.enter_context(_new_store(on))
        names = [f"press-{number}" for number in range(devices)]
        contexts, ca, own = dict[str, ssl.SSLContext](), None, None
        if tls:
            ca, cert, key = make_certificates(folder / "authority")
            settings += [f"cafile {ca}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"]
            settings += ["use_identity_as_username true"]
            own = make_certificate(folder / "its", "collector", authority=folder / "authority")
            contexts = {name: _tls_of(name, folder) for name in names}
        broker = stack.enter_context(Mosquitto(folder / "broker", settings=settings))
        logs = [
            stack.enter_context(_collector(folder, broker.port, url, f"c{number}", ca=ca, own=own))
            for number in range(collectors)
        ]
        _wait_for(lambda: all("connected" in log.read_text() for log in logs), 60)
        took, connected_s, latencies, resent = _play_stations(broker.port, names, backlog, timeout_s, contexts)
        with opened(url) as engine, engine.connect() as connection:
            found = accounts(connection)
    lost = sum(account.lost for account in found)
    result = {
        "on": on,
        "tls": "yes" if tls else "no",
        "collectors": collectors,
        "devices": devices,
        "generated": devices * backlog,
        "stored": sum(account.stored for account in found),
        "lost": lost + (devices * backlog - sum(account.generated for account in found)),
        "duplicates": sum(account.duplicates for account in found),
        "sent_again": resent,
        "connected_s": round(connected_s, 2),
        "seconds": round(took, 2),
        "a_second": round(devices * backlog / took),
        "acknowledged_p50_s": round(statistics.median(latencies), 3),
        "acknowledged_p99_s": round(sorted(latencies)[int(0.99 * (len(latencies) - 1))], 3),
    }
    _show("Stations come back at once", [result], as_json)
    if result["lost"]:
        raise typer.Exit(1)


def _tls_of(name: str, folder: Path) -> ssl.SSLContext:
    """What a station needs that shows a certificate of its own and trusts the broker's authority alone."""
    authority = folder / "authority"
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    context.load_cert_chain(*map(str, make_certificate(folder / "its", name, authority=authority)))
    return context


def _play_stations(
    port: int, names: Sequence[str], backlog: int, timeout_s: float, contexts: Mapping[str, ssl.SSLContext]
) -> tuple[float, float, list[float], int]:
    """Stations in this process, as MQTT clients in one loop: seconds until all is acknowledged and until all are
    connected, seconds of each message from the beginning to its acknowledgement, and how many messages were sent again.

    contexts: by name, where they speak TLS. Its handshakes go side by side, as those of many machines do.
    """
    import selectors

    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    from edge_resad.messages import Acknowledgement, read_message

    latencies: list[float] = []
    waiting: dict[str, dict[int, tuple[str, bytes, float]]] = {}
    clients: dict[str, mqtt.Client] = {}
    resent = 0

    def on_message(client: mqtt.Client, name: str, message: mqtt.MQTTMessage) -> None:
        said = read_message(bytes(message.payload)).data
        assert isinstance(said, Acknowledgement)
        now = time.perf_counter()
        for first, last in said.stored:
            for seq in range(first, last + 1):
                had = waiting[name].pop(seq, None)
                if had is not None:
                    latencies.append(now - had[2])

    def on_subscribe(client: mqtt.Client, name: str, *_: Any) -> None:
        for topic, payload, _sent in waiting[name].values():
            client.publish(topic, payload, qos=1)

    selector = selectors.DefaultSelector()
    letters = {}
    for number, name in enumerate(names):
        writer = Writer(device=name, stream_id=f"stream-{number}")
        letters[name] = [writer.verdict(seq) for seq in range(1, backlog + 1)]
    began = time.perf_counter()
    for name, arrivals in letters.items():
        waiting[name] = {seq: (arrival.topic, arrival.payload, began) for seq, arrival in enumerate(arrivals, 1)}
        client = clients[name] = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, userdata=name, protocol=mqtt.MQTTv5
        )
        client.connect_timeout = timeout_s
        client.max_inflight_messages_set(50)
        client.on_connect = lambda client, name, *_: client.subscribe(f"er/v1/graz/l4/{name}/ack", qos=1)
        client.on_subscribe = on_subscribe
        client.on_message = on_message
        if name in contexts:
            client.tls_set_context(contexts[name])
    with ThreadPoolExecutor(min(32, len(names))) as pool:
        list(pool.map(lambda client: client.connect("localhost", port, keepalive=120), clients.values()))
    connected_s = time.perf_counter() - began
    for name, client in clients.items():
        selector.register(client.socket(), selectors.EVENT_READ, name)  # type: ignore[arg-type]
    again = time.perf_counter() + 10
    while any(waiting.values()):
        now = time.perf_counter()
        if now - began > timeout_s:
            break
        for key, _ in selector.select(0.05):
            client = clients[key.data]
            client.loop_read()
            while isinstance(sock := client.socket(), ssl.SSLSocket) and sock.pending():
                client.loop_read()  # what TLS has read already wakes nobody
        for client in clients.values():
            if client.want_write():
                client.loop_write()
        if now > again:  # as a station's spool does
            again = now + 10
            for name, missing in waiting.items():
                for topic, payload, _sent in missing.values():
                    clients[name].publish(topic, payload, qos=1)
                    resent += 1
    took = time.perf_counter() - began
    for client in clients.values():
        client.disconnect()
    return took, connected_s, latencies or [0.0], resent


def _wait_for(condition: Any, within_s: float) -> None:
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("what was waited for did not come")
        time.sleep(0.01)


@contextmanager
def _new_store(kind: str) -> Iterator[str]:
    """An empty store: a file beside this checkout's own, on the same disk, or a PostgreSQL that writes for good."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="store-", dir=os.getcwd()) as folder:
            yield f"sqlite:///{folder}/fleet.db"
        return
    if POSTGRES is None:
        raise SystemExit("no PostgreSQL server programs here: apt-get install postgresql, or --on sqlite")
    with Postgres("fsync = on\nsynchronous_commit = on\nshared_buffers = 256MB\nmax_wal_size = 4GB") as server:
        yield server.new_database()


if __name__ == "__main__":
    app()
