"""`edge-resad send` over a real broker to a station in a process of its own, with the real engine and two products."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_resad.bank import bank_content
from edge_resad.messages import Verdict, VerdictMessage
from edge_resad.recipe import Shelf
from tests.device.commanded import make_keys
from tests.device.test_commands import Office
from tests.mqtt_peers import Mosquitto, eventually
from tests.products import bank_of, stocked

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]
WAIT_S = 60.0  # a deadline, not a pause; an engine takes seconds to begin where others use the machine

_FILE = """
[station]
device = "press-7"
site = "berlin"
line = "a"
product = "flange"

[[camera]]
name = "stays"
source = "synthetic:flange"
fps = 2
bank = "flange.bank"

[[camera]]
name = "turns"
source = "synthetic:flange"
fps = 2
products = "products"

[inspection]
max_age_s = 1000.0  # a machine that stands still for a moment leaves no part without a verdict

[spool]
ack = "broker"

[broker]
host = "127.0.0.1"
port = {port}

[commands]
keys = ["press-7-operator.key", "press-7-engineer.key", "press-7-admin.key"]
"""


@contextmanager
def begun(folder: Path, port: int) -> Iterator[Office]:
    """A station that has judged a part with each camera, and whoever hears what it says."""
    shelf = Shelf(folder / "products")
    for family in ("flange", "cap"):
        stocked(shelf, family)
    shelf.use(shelf.find("flange"))
    (folder / "flange.bank").write_bytes(bank_content(bank_of("flange")))
    (folder / "station.toml").write_text(_FILE.format(port=port))
    with Office(port) as office:
        command = [sys.executable, "-m", "edge_resad", "run", str(folder / "station.toml"), "--quiet"]
        with subprocess.Popen(command, cwd=ROOT) as station:
            try:
                awaited(office, "turns", lambda verdict: product_of(verdict) == ("flange", 1))
                awaited(office, "stays", lambda verdict: product_of(verdict) == ("flange", None))
                yield office
            finally:
                station.terminate()
                station.wait(WAIT_S)
        assert station.returncode == 0


def product_of(verdict: Verdict) -> tuple[str, int | None]:
    return verdict.product, verdict.product_version


def awaited(office: Office, camera: str, fits: Callable[[Verdict], bool]) -> Verdict:
    """The first verdict of a camera that is like this."""

    def found() -> list[Verdict]:
        return [one for one in office.told(VerdictMessage) if one.camera == camera and fits(one)]

    assert eventually(lambda: bool(found()), WAIT_S)
    return found()[0]


def send(folder: Path, port: int, role: str, *command: str) -> tuple[int, dict[str, Any]]:
    """What the command line says of a command that it sent: the exit code, and the reply."""
    about = ["--broker", f"127.0.0.1:{port}", "--key", str(folder / f"{role}.key"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edge_resad", "send", "press-7", *command, *about, "--timeout", str(WAIT_S)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3 * WAIT_S,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_is_sent_takes_effect_on_the_parts_that_follow(tmp_path: Path) -> None:
    make_keys(tmp_path)
    with Mosquitto(tmp_path / "broker") as broker, begun(tmp_path, broker.port) as office:
        code, reply = send(tmp_path, broker.port, "operator", "product-use", "product=cap")
        assert (code, reply["status"], reply["result"]) == (0, "done", {"asked_for": "cap@1", "cameras": ["turns"]})
        awaited(office, "turns", lambda verdict: product_of(verdict) == ("cap", 1))

        before = awaited(office, "stays", lambda _: True)
        wanted = round(3 * float(before.threshold or 0.0), 3)
        code, reply = send(tmp_path, broker.port, "engineer", "threshold", f"value={wanted}", "camera=stays")
        assert (code, reply["status"], reply["result"]["threshold"]) == (0, "done", {"stays": wanted})
        judged = awaited(office, "stays", lambda verdict: verdict.threshold == wanted)
        assert judged.status == ("fail" if float(judged.score or 0.0) >= wanted else "pass")

        code, reply = send(tmp_path, broker.port, "engineer", "threshold", "value=0.001")  # of all cameras, or of none
        assert (code, reply["status"]) == (1, "failed")
        assert "stands in its recipe" in reply["sentence"]

        code, reply = send(tmp_path, broker.port, "operator", "self-test")
        assert (code, reply["status"], reply["result"]) == (0, "done", {"engine": "computes what it should"})

        code, reply = send(tmp_path, broker.port, "operator", "product-use", "product=nut")
        assert (code, reply["status"]) == (1, "failed")
        assert "nut" in reply["sentence"]
        verdicts: list[Verdict] = office.told(VerdictMessage)
        assert {product_of(one) for one in verdicts if one.camera == "stays"} == {("flange", None)}
        assert {one.threshold for one in verdicts if one.camera == "stays"} == {before.threshold, wanted}
        assert [one for one in verdicts if one.camera == "turns"][-1].product == "cap"
