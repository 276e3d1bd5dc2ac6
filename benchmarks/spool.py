"""What the outbox and the way to a collector can do: commits, alerts a second, latency, and a million messages waiting.

The broker is a mosquitto on the loopback, once plain and once with TLS. The collector is a stub in a process of its
own: it acknowledges what it hears every 10 ms and stores nothing, so its database's time comes on top.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import paho.mqtt.client as mqtt
import typer
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from benchmarks.latency import _machine as machine
from edge_resad.device.publisher import Publisher
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Spool
from edge_resad.device.spoolfile import Letter
from edge_resad.messages import Address, Stamp, acknowledgement_message, seq_ranges

ADDRESS = Address(site="site", line="line", device="bench")
TOPIC = ADDRESS.alert_topic("major")
BYTES = 800  # of one message, as an alert with a region or two has
BUDGET = 1 << 40


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Messages that wait in the large spool.")] = 1_000_000,
    alerts: Annotated[int, typer.Option(min=100, help="Alerts from the spool to the collector.")] = 20_000,
    folder: Annotated[Path | None, typer.Option(help="Where spools lie while they are measured.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the spool alone, and with a mosquitto and a collector's stub where there is a mosquitto."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        here = Path(name)
        found: dict[str, Any] = {"machine": machine(), **_in_child(_commits, here), **_in_child(_large, here, rows)}
        if (program := shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")) is not None:
            for tls in (False, True):
                found["tls" if tls else "plain"] = _delivery(program, here, alerts, tls=tls)
            found["backlog"] = backlog(program, here, rows)
    print(json.dumps(found)) if as_json else _show(found)


def _message(stamp: Stamp) -> bytes:
    return f"{stamp.seq} {time.monotonic()} ".encode().ljust(BYTES, b"x")


def _live_message(stamp: Stamp) -> bytes:
    return f"{stamp.seq} {time.monotonic()} live".encode().ljust(BYTES, b"x")


def _in_child(measure: Any, *args: Any) -> dict[str, Any]:
    """Run it in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=_put_result, args=(results, measure, *args))
    child.start()
    found: dict[str, Any] = results.get()
    child.join()
    return found


def _put_result(results: Any, measure: Any, *args: Any) -> None:
    results.put(measure(*args))


def _commits(folder: Path) -> dict[str, float]:
    with Spool(folder / "commits.db", max_bytes=BUDGET, commit_ms=0.0) as spool:
        alone = []
        for _ in range(300):
            began = time.perf_counter()
            spool.put(TOPIC, _message, kind="alert")
            assert spool.flush(60)
            alone.append(time.perf_counter() - began)
    count = 50_000
    with Spool(folder / "grouped.db", max_bytes=BUDGET) as spool:
        began = time.perf_counter()
        for _ in range(count):
            spool.put(TOPIC, _message, kind="alert")
        put_s = time.perf_counter() - began
        assert spool.flush(600)
        grouped_s = time.perf_counter() - began
    return {
        "commit_one_p50_ms": 1e3 * statistics.median(alone),
        "commit_one_p99_ms": 1e3 * statistics.quantiles(alone, n=100)[98],
        "grouped_per_s": count / grouped_s,
        "put_us": 1e6 * put_s / count,
    }


def _large(folder: Path, rows: int) -> dict[str, float]:
    path = folder / "large.db"
    with Spool(path, max_bytes=BUDGET) as spool:
        spool.put(TOPIC, _message, kind="fail")
        assert spool.flush(60)
        first_mb = _resident_mb()
        began = time.perf_counter()
        for _ in range(rows - 1):
            if spool.put(TOPIC, _message, kind="fail").seq % 5000 == 0:
                assert spool.flush(600)
        assert spool.flush(600)
        took_s = time.perf_counter() - began
        full_mb = _resident_mb()
    began = time.perf_counter()
    with Spool(path, max_bytes=BUDGET) as spool:
        open_s = time.perf_counter() - began
        assert spool.waiting() == rows
        assert len(spool.oldest(100)) == 100
        opened_mb = _resident_mb()
        spool.put(TOPIC, _message, kind="alert")
        assert spool.flush(60)
    size_mb = path.stat().st_size / 1e6
    return {
        "rows": rows,
        "rows_file_mb": size_mb,
        "rows_per_s": rows / took_s,
        "rss_one_row_mb": first_mb,
        "rss_all_rows_mb": full_mb,
        "rss_after_reopen_mb": opened_mb,
        "rss_highest_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "reopen_s": open_s,
    }


def _delivery(program: str, folder: Path, alerts: int, *, tls: bool) -> dict[str, float]:
    with _mosquitto(program, folder, tls=tls) as (port, ca), _collector(port, ca) as (latencies, stop):
        spool_path = folder / f"delivery-{tls}.db"
        broker = BrokerSection(host="localhost", port=port, ca_file=ca, max_inflight=200)
        station = StationSection(site="site", line="line", device="bench")
        delivery = SpoolSection(ack="collector", drain_per_s=0)
        with (
            Spool(spool_path, max_bytes=BUDGET) as spool,
            Publisher(spool, broker, station, birth={}, delivery=delivery) as publisher,
        ):
            _until(lambda: publisher.status.connected)
            for _ in range(500):  # one after the other: what a line feels
                spool.put(TOPIC, _live_message, kind="alert")
                time.sleep(0.01)
            _until(lambda: spool.waiting() == 0)
            stop.set()
            heard: list[float] = latencies.get()[0]
            began, began_cpu = time.perf_counter(), time.process_time()
            for _ in range(alerts):
                spool.put(TOPIC, _message, kind="alert")
            _until(lambda: spool.waiting() == 0)
            took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return {
        "alerts_per_s": alerts / took_s,
        "station_cpu_us_per_alert": 1e6 * cpu_s / alerts,
        "to_collector_p50_ms": 1e3 * statistics.median(heard),
        "to_collector_p99_ms": 1e3 * statistics.quantiles(heard, n=100)[98],
    }


def backlog(program: str, folder: Path, rows: int) -> dict[str, float]:
    """Let so many rows wait, then drain them while new alerts are put: how those fare, and the station's memory.

    most_rows_before_a_live: that went between an alert's being on the disk and its own going, of the worst one.
    """
    with _mosquitto(program, folder, tls=False) as (port, ca), _collector(port, ca) as (latencies, stop):
        found = _in_child(_drain, folder, rows, port)
        stop.set()
        heard, before = latencies.get()
    gone = found.pop("gone")
    between = [came - gone[seq] for seq, came in before]
    return {
        **found,
        "live_p50_ms": 1e3 * statistics.median(heard),
        "live_p99_ms": 1e3 * statistics.quantiles(heard, n=100)[98],
        "most_rows_before_a_live": max(between),
    }


class _CountingSpool(Spool):
    """Knows of every letter how many others had gone when it was on the disk and could go."""

    def __enter__(self) -> _CountingSpool:
        super().__enter__()
        self.gone: dict[int, int] = {}
        self._went = 0
        self._noted = self.committed_seq
        self.listen(self._note)
        return self

    def sent(self, letter: Letter) -> None:
        super().sent(letter)
        self._went += 1

    def _note(self) -> None:
        committed = self.committed_seq
        self.gone.update(dict.fromkeys(range(self._noted + 1, committed + 1), self._went))
        self._noted = committed


def _drain(folder: Path, rows: int, port: int) -> dict[str, Any]:
    path = folder / "backlog.db"
    with Spool(path, max_bytes=BUDGET) as spool:
        for _ in range(rows):
            if spool.put(TOPIC, _message, kind="fail").seq % 5000 == 0:
                assert spool.flush(600)
        assert spool.flush(600)
    broker = BrokerSection(host="localhost", port=port, max_inflight=200)
    station = StationSection(site="site", line="line", device="bench")
    delivery = SpoolSection(ack="collector", drain_per_s=0)
    with _CountingSpool(path, max_bytes=BUDGET) as spool:
        waiting_mb = highest_mb = _resident_mb()
        began, alerts = time.perf_counter(), 0
        with Publisher(spool, broker, station, birth={}, delivery=delivery) as publisher:
            _until(lambda: publisher.status.connected)
            while spool.waiting() or alerts < 20:
                spool.put(TOPIC, _live_message, kind="alert")
                alerts += 1
                highest_mb = max(highest_mb, _resident_mb())
                time.sleep(0.02)
                if alerts >= 20 and spool.waiting() < 100:  # what is left are the live ones and the last few rows
                    _until(lambda: spool.waiting() == 0)
            took_s = time.perf_counter() - began
    return {
        "rows": rows,
        "live_alerts": alerts,
        "drain_s": took_s,
        "drained_per_s": (rows + alerts) / took_s,
        "rss_waiting_mb": waiting_mb,
        "rss_highest_while_draining_mb": highest_mb,
        "gone": spool.gone,
    }


@contextmanager
def _collector(port: int, ca: Path | None) -> Iterator[tuple[Any, Any]]:
    """A stub of one: live messages' latencies and how many came before each, once told; how to tell."""
    context = multiprocessing.get_context("spawn")
    latencies, hand_over, ready = context.Queue(), context.Event(), context.Event()
    process = context.Process(target=_collect, args=(port, ca, latencies, hand_over, ready), daemon=True)
    process.start()
    assert ready.wait(60)
    try:
        yield latencies, hand_over
    finally:
        process.terminate()
        process.join()


def _collect(port: int, ca: Path | None, latencies: Any, hand_over: Any, ready: Any) -> None:
    seqs: list[int] = []
    took: list[float] = []
    before: list[tuple[int, int]] = []
    stream: list[str] = []
    heard = 0

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal heard
        now = time.monotonic()
        seq, written, rest = message.payload.split(b" ", 2)
        seqs.append(int(seq))
        if rest.startswith(b"live"):
            took.append(now - float(written))
            before.append((int(seq), heard))
        heard += 1
        if not stream:
            about: Any = message.properties
            stream.append(dict(about.UserProperty)["id"].rpartition("-")[0])

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="collector", protocol=mqtt.MQTTv5)
    if ca is not None:
        client.tls_set(str(ca))
    client.on_message = on_message
    client.on_connect = lambda client, *_: client.subscribe(f"{ADDRESS.prefix}/alert/+", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("localhost", port)
    acknowledge_at, count, handed = 0.0, 0, False
    while True:
        client.loop(0.005)
        for _ in range(100):  # paho takes one message a turn
            client.loop_read()
        if seqs and time.monotonic() >= acknowledge_at:
            count += 1
            about = {"event_id": f"ack-{count}", "wall": time.time(), "stream_id": stream[0], "collector": "stub"}
            payload = acknowledgement_message(ADDRESS, stored=seq_ranges(seqs), **about)  # type: ignore[arg-type]
            client.publish(ADDRESS.ack_topic, payload, qos=1)
            seqs.clear()
            acknowledge_at = time.monotonic() + 0.01
        if hand_over.is_set() and not handed:
            latencies.put((took, before))
            handed = True


@contextmanager
def _mosquitto(program: str, folder: Path, *, tls: bool) -> Iterator[tuple[int, Path | None]]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    lines = [
        f"listener {port} localhost",
        "allow_anonymous true",
        "user root",
        "max_queued_messages 0",
        "max_inflight_messages 0",
    ]
    ca = folder / "ca.pem" if tls else None
    if tls:
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key.pem"), "-out", str(ca)]
        subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True)
        lines += [f"certfile {ca}", f"keyfile {folder / 'key.pem'}"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _listens(port))
        yield port, ca
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True


def _until(condition: Any, within_s: float = 300.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the measured did not come to its end")
        time.sleep(0.002)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _show(found: dict[str, Any]) -> None:
    table = Table(title=f"The spool, messages of {BYTES} bytes; {found['machine']}")
    table.add_column("what")
    table.add_column("measured", justify="right")
    for name, value in found.items():
        if isinstance(value, dict) and name != "machine":
            for inner, figure in value.items():
                table.add_row(f"{name} {inner}", f"{figure:,.2f}")
        elif isinstance(value, (int, float)):
            table.add_row(name, f"{value:,.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
