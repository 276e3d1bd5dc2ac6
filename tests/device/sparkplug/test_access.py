"""Who a node must be at a broker that asks for certificates: the access list of the page, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_resad.device.publisher import Publisher
from edge_resad.device.settings import BrokerSection, SparkplugSection
from edge_resad.device.sparkplug.sparkplug import Sparkplug
from tests.device.certificates import make_certificate
from tests.device.sparkplug.host import Shown, read, rebirth_command
from tests.device.test_broker_examples import Peer, publisher_of, spool_of
from tests.device.test_broker_examples import authority as authority
from tests.mqtt_peers import Mosquitto, eventually

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = "press-7-sparkplug"
pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[int]:
    """A broker that takes client ids from certificates, with the example's access list and what the page adds to it."""
    page = (CHECKOUT / "docs" / "sparkplug.md").read_text(encoding="utf-8")
    (added,) = re.findall(r"^```\n(pattern .*?)^```", page, re.MULTILINE | re.DOTALL)
    settings = [
        *(f"{name} {authority / file}" for name, file in (("cafile", "ca.pem"), ("certfile", "broker.pem"))),
        f"keyfile {authority / 'broker.key'}",
        *("require_certificate true", "use_identity_as_username true", "use_username_as_clientid true"),
    ]
    acl = (CHECKOUT / "deploy" / "broker" / "acl").read_text() + "\n" + added
    with Mosquitto(tmp_path_factory.mktemp("broker"), acl=acl, settings=settings) as broker:
        yield broker.port


def shows(port: int, authority: Path, folder: Path, *, node: str, name: str) -> Sparkplug:
    """name: of the certificate."""
    cert, key = make_certificate(folder / "of-the-node", name, authority=authority)
    own: dict[str, Any] = {"group": "graz", "node": node, "cert_file": cert, "key_file": key, "every_s": 0.5}
    broker = {
        "host": "localhost", "port": port, "ca_file": authority / "ca.pem", "reconnect_min_s": 0.02,
        "reconnect_max_s": 0.2,
    }  # fmt: skip
    return Sparkplug(
        SparkplugSection.model_validate(own),
        BrokerSection.model_validate(broker),
        Shown(),
        device="press-7",
        bd_seq_file=folder / "spool.bdseq",
    )


def births(peer: Peer) -> list[str]:
    return [read(topic, payload).verb for topic, payload in peer.heard if "BIRTH" in topic]


def test_a_node_with_a_certificate_of_its_own_is_seen_and_asked_by_the_scada(
    tmp_path: Path, port: int, authority: Path
) -> None:
    with Peer("scada", port, authority, tmp_path) as scada:
        scada.hear("spBv1.0/#")
        with shows(port, authority, tmp_path, node=NAME, name=NAME) as sparkplug:
            assert eventually(lambda: births(scada) == ["NBIRTH", "DBIRTH"])
            assert sparkplug.problem() is None
            assert scada.say(f"spBv1.0/graz/NCMD/{NAME}", rebirth_command()) < 0x80
            assert eventually(lambda: births(scada) == ["NBIRTH", "DBIRTH"] * 2)
        assert eventually(lambda: scada.heard[-1][0] == f"spBv1.0/graz/NDEATH/{NAME}")


def test_a_stolen_certificate_says_nothing_for_another_node(tmp_path: Path, port: int, authority: Path) -> None:
    with Peer("press-8-sparkplug", port, authority, tmp_path) as thief:
        for topic in (f"NBIRTH/{NAME}", f"NDEATH/{NAME}", f"DDATA/{NAME}/cam0", f"NCMD/{NAME}"):
            assert thief.say(f"spBv1.0/graz/{topic}", b"lie") == 0x87, topic
        assert thief.say("spBv1.0/graz/NBIRTH/press-8-sparkplug", b"mine") < 0x80


def test_with_the_stations_own_certificate_it_gives_way_and_the_station_is_heard(
    tmp_path: Path, port: int, authority: Path
) -> None:
    def connected(publisher: Publisher) -> bool:
        return publisher.status.connected

    with spool_of(tmp_path) as spool, publisher_of(spool, port, authority, tmp_path) as publisher:
        assert eventually(lambda: connected(publisher))
        with shows(port, authority, tmp_path, node="press-7", name="press-7") as sparkplug:
            assert eventually(lambda: "gives way" in str(sparkplug.problem()))
            assert "cert_file of its own" in str(sparkplug.problem())
            assert eventually(lambda: connected(publisher))
