"""A whole station that runs and is asked: from its file, over its socket, while parts come."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_resad.bank import save_bank
from edge_resad.cli import app
from edge_resad.demo import products
from edge_resad.device.control import ControlClient
from edge_resad.device.pipeline import Inspection
from edge_resad.device.spool import Spool
from edge_resad.device.station import run
from edge_resad.device.summary import StationSummary
from edge_resad.errors import ControlError, EdgeResadError
from edge_resad.messages import Birth, NotInspected, VerdictMessage, read_message
from edge_resad.recipe import Shelf
from tests.mqtt_peers import FakeBroker, Script, eventually
from tests.products import bank_of, stocked

WAIT_S = 60.0  # a deadline, not a pause


def station_file(folder: Path, text: str = "") -> Path:
    """A station that inspects drawn flanges, twenty a second."""
    save_bank(bank_of("flange"), folder / "bank.npz")
    file = folder / "station.toml"
    judged_by = "" if "[products]" in text else '[inspection]\nbank = "bank.npz"\n'
    file.write_text(
        '[station]\ndevice = "press-7"\n[camera]\nsource = "synthetic:flange"\nfps = 20\n'
        f"[spool]\ncommit_ms = 1.0\n{judged_by}{text}"
    )
    return file


@contextmanager
def running(
    file: Path, *, seen: Callable[[Inspection], None] | None = None
) -> Iterator[tuple[ControlClient, Future[StationSummary]]]:
    """The station of a file in a thread, from its first part on; it is stopped at the end."""
    stop, done, first = threading.Event(), Future[StationSummary](), threading.Event()

    def see(inspection: Inspection) -> None:
        first.set()
        if seen is not None:
            seen(inspection)

    def work() -> None:
        try:
            done.set_result(run(file, quiet=True, stop=stop, products=products, on_inspection=see))
        except BaseException as error:
            done.set_exception(error)
            first.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert first.wait(WAIT_S)
        yield ControlClient(file.parent / "control.sock", timeout_s=WAIT_S), done
    finally:
        stop.set()
        thread.join(WAIT_S)


def parts(status: dict[str, Any]) -> int:
    counts = status["counts"]
    return int(counts["passed"] + counts["failed"] + counts["not_inspected"])


def cli(*words: str | Path) -> str:
    """What `edge-resad control ...` prints."""
    done = CliRunner().invoke(app, ["control", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_running_station_says_how_it_does(tmp_path: Path) -> None:
    file = station_file(tmp_path)
    with running(file) as (client, done):
        assert eventually(lambda: client.ask("status")["counts"]["passed"] > 3)
        status = client.ask("status")
        assert status["station"]["device"] == "press-7"
        lights = {light["name"]: light["says"] for light in status["lights"]}
        assert set(lights) >= {"cam0", "engine", "spool", "disk", "pictures"}
        assert lights["engine"] == "cpu, fp32"
        assert "messages wait" in lights["spool"]
        assert status["latency_ms"]["p50"] > 0
        assert base64.b64decode(client.ask("snapshot")["jpeg"]).startswith(b"\xff\xd8")
        assert "passed: " in cli(file, "status")
        assert cli(file, "snapshot", "-o", tmp_path / "last.jpg").strip() == str(tmp_path / "last.jpg")
        assert (tmp_path / "last.jpg").read_bytes().startswith(b"\xff\xd8")
        assert set(json.loads(cli(file, "help", "--json"))) >= {"status", "bypass", "threshold"}
    assert done.result().parts >= parts(status)
    assert not (tmp_path / "control.sock").exists()


def test_the_documents_name_every_command_of_a_station_with_its_arguments_and_no_other(tmp_path: Path) -> None:
    file = station_file(tmp_path)
    other = '[[camera]]\nname = "cam1"\nsource = "synthetic:flange"\nfps = 20\n[camera.trigger]\nkind = "software"\n'
    file.write_text(file.read_text().replace("[camera]", "[[camera]]") + other)
    with running(file) as (client, _):
        assert eventually(lambda: {"restart", "trigger"} <= client.ask("help").keys())
        told = {name: set(re.findall(r"(\w+)=", says)) for name, says in client.ask("help").items()}
    page = (Path(__file__).parents[2] / "docs" / "live.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|([^|]*)\|", page.partition("## Commands")[2], re.M)
    assert {name: set(re.findall(r"`(\w+)`", arguments)) for name, arguments in rows} == told


def test_in_a_bypass_every_part_is_counted_and_said_as_not_inspected(tmp_path: Path) -> None:
    file, seen = station_file(tmp_path), list[Inspection]()
    with running(file, seen=seen.append) as (client, done):
        cli(file, "bypass", "reason=new lamp")
        assert eventually(lambda: any(one.not_inspected == "bypassed" for one in seen))
        assert client.ask("status")["bypass"]["reason"] == "new lamp"
        cli(file, "resume")
        bypassed = len([one for one in seen if one.not_inspected == "bypassed"])
        assert eventually(lambda: seen[-1].verdict is not None)
    kinds = [one.not_inspected for one in seen]
    first, last = kinds.index("bypassed"), len(kinds) - 1 - kinds[::-1].index("bypassed")
    assert set(kinds[first : last + 1]) == {"bypassed"}
    assert bypassed <= done.result().not_inspected["bypassed"] == kinds.count("bypassed")
    with Spool(tmp_path / "spool.db", max_bytes=10**9) as spool:
        said = [read_message(letter.body) for letter in spool.oldest(10_000) if "/evt/" in letter.topic]
    reasons = [
        one.data.reason for one in said if isinstance(one, VerdictMessage) and isinstance(one.data, NotInspected)
    ]
    assert reasons.count("bypassed") == kinds.count("bypassed")


def test_the_threshold_of_a_bank_changes_with_the_next_part_and_is_forgotten_at_the_end(tmp_path: Path) -> None:
    file, seen = station_file(tmp_path), list[Inspection]()
    with running(file, seen=seen.append) as (client, _):
        assert cli(file, "threshold", "set=0.001").startswith("threshold:\n  cam0: 0.001")
        at = len(seen) + 1
        assert eventually(lambda: len(seen) > at + 3)
        assert {one.verdict.status for one in seen[at:] if one.verdict is not None} == {"fail"}
        assert cli(file, "threshold", "set=1000").startswith("threshold:\n  cam0: 1000")  # or each is soon forgotten
        assert eventually(lambda: seen[-1].verdict is not None and seen[-1].verdict.status == "pass")
        assert eventually(lambda: client.ask("status")["rejects"][0]["picture"])
        reject = client.ask("status")["rejects"][0]["id"]
        cli(file, "label", f"id={reject}", "by=ann")
        assert json.loads((tmp_path / "labels.jsonl").read_text())["by"] == "ann"
    with running(file) as (client, _):
        assert client.ask("threshold")["threshold"]["cam0"] > 0.5


def test_a_product_changes_by_command_and_the_fleet_hears_which_it_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "products")
    for name in ("flange", "cap"):
        stocked(shelf, name)
    shelf.use(shelf.find("flange"))
    with FakeBroker(Script()) as broker:
        file = station_file(
            tmp_path, f'[products]\nfolder = "products"\n[broker]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        )

        def states() -> Sequence[Birth]:
            said = [read_message(packet.payload).data for packet in broker.packets if "/state" in packet.topic]
            return [data for data in said if isinstance(data, Birth)]

        with running(file) as (client, _):
            assert eventually(lambda: bool(states()))
            assert states()[-1].product == "flange"
            assert states()[-1].about["product_versions"] == {"cam0": 1}
            with pytest.raises(ControlError, match="stands in its recipe"):
                client.ask("threshold", set=1.5)
            assert client.ask("threshold")["threshold"]["cam0"] > 0.5
            assert cli(file, "product", "use=cap") == "asked_for: cap@1\ncameras: cam0\n"
            assert eventually(lambda: client.ask("status")["products"] == {"cam0": "cap@1"})
            assert eventually(lambda: states()[-1].product == "cap")
            client.ask("bypass", reason="lamp")
            assert eventually(lambda: states()[-1].about.get("bypass") == "lamp")
            client.ask("resume")
            assert eventually(lambda: "bypass" not in states()[-1].about)


def test_what_the_broker_will_never_take_is_a_light_and_stands_in_the_state(tmp_path: Path) -> None:
    script = Script(puback=lambda packet: 0x99 if "/evt/" in packet.topic else 0)
    with FakeBroker(script) as broker:
        file = station_file(tmp_path, f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\n')

        def spool_light() -> dict[str, str]:
            return next(light for light in client.ask("status")["lights"] if light["name"] == "spool")

        def dead() -> list[int]:
            said = [read_message(packet.payload).data for packet in broker.packets if "/state" in packet.topic]
            return [data.dead for data in said if isinstance(data, Birth)]

        with running(file) as (client, _):
            assert eventually(lambda: spool_light()["colour"] == "amber")
            assert "the broker will never take: edge-resad spool dead STATION says why" in spool_light()["says"]
            assert eventually(lambda: dead()[-1] > 0)


def test_the_engine_is_tested_between_two_parts_and_judges_as_before(tmp_path: Path) -> None:
    seen = list[Inspection]()
    with running(station_file(tmp_path), seen=seen.append) as (client, _):
        assert client.ask("self-test") == {"engine": "computes what it should"}
        tested = len(seen)
        assert eventually(lambda: len(seen) > tested + 3)
    good = [one.verdict.score for one in seen if one.frame.truth is not None and one.frame.truth.defect is None
            and one.verdict is not None]  # fmt: skip
    assert max(good) < 3  # with the bank of the test in place of its own it would be far beyond


def test_a_second_station_at_the_same_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running(station_file(tmp_path)) as (client, _):
        other = tmp_path / "other.toml"
        other.write_text((tmp_path / "station.toml").read_text().replace("[spool]", '[spool]\npath = "other.db"'))
        with pytest.raises(ControlError, match="another station answers"):
            run(other, quiet=True, stop=threading.Event(), products=products)
        before = parts(client.ask("status"))
        assert eventually(lambda: parts(client.ask("status")) > before)


def test_a_socket_that_cannot_be_made_is_said_and_the_line_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[Inspection]()
    with running(station_file(tmp_path, '[control]\nsocket = "/proc/no.sock"\n'), seen=seen.append):
        assert eventually(lambda: len(seen) > 3)
    assert "no socket can be made at /proc/no.sock" in caplog.text


def test_a_station_that_nobody_may_ask_has_no_socket(tmp_path: Path) -> None:
    file = station_file(tmp_path, "[control]\nsocket = false\n")
    with running(file), pytest.raises(EdgeResadError, match="nobody can ask this station"):
        cli(file, "status")
    assert not (tmp_path / "control.sock").exists()


def test_a_verb_speaks_like_the_station_and_says_what_is_missing(tmp_path: Path) -> None:
    file = station_file(tmp_path)
    with pytest.raises(ControlError, match="no station answers"):
        cli(file, "status")
    assert CliRunner().invoke(app, ["control", str(file), "threshold", "set"]).exit_code == 2
    with running(file):
        with pytest.raises(ControlError, match="knows no 'dance'"):
            cli(file, "dance")
        with pytest.raises(ControlError, match="a threshold is a number above 0"):
            cli(file, "threshold", "set=NaN")
        with pytest.raises(ControlError, match="that is a picture"):
            cli(file, "snapshot")


def test_a_client_that_floods_the_socket_does_not_slow_the_line_to_a_halt(tmp_path: Path) -> None:
    seen = list[Inspection]()
    with running(station_file(tmp_path), seen=seen.append), socket.socket(socket.AF_UNIX) as flood:
        flood.connect(str(tmp_path / "control.sock"))
        flood.settimeout(0.05)
        before = len(seen)
        while len(seen) < before + 10:
            try:
                flood.sendall(b'{"ask": "status"}\n' * 50)
            except TimeoutError:  # it takes no more: its answers are not read
                break
        assert eventually(lambda: len(seen) > before + 10)
