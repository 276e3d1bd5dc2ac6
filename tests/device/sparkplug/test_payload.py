"""What goes over the wire is what the specification's field numbers say, and what comes over it harms nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.sparkplug import sparkplug
from edge_resad.device.settings import StationFile
from edge_resad.device.sparkplug.payload import REBIRTH, Kind, asks_for_rebirth, payload_class, write_payload
from edge_resad.errors import SettingsError
from tests.device.sparkplug.host import rebirth_command


def _bytes(*pieces: str | bytes) -> bytes:
    """Bytes as they stand, and numbers in hexadecimal."""
    return b"".join(piece if isinstance(piece, bytes) else bytes.fromhex(piece) for piece in pieces)


# Put together by hand from the specification's field numbers: number * 8 + wire type, then the value.
_WHEN = "08 e807"  # 1, timestamp of the payload: 1000 ms
_THEN = "18 e807"  # 3, timestamp of a metric
DEATH = _bytes(
    _WHEN,
    "12 0e",  # 2, a metric of 14 bytes
    *("0a 05", b"bdSeq"),  # 1, name
    _THEN,
    "20 04",  # 4, datatype: Int64
    "58 07",  # 11, long_value
)
NEWS = _bytes(
    _WHEN,
    *("12 0d", "0a 06", b"Active", _THEN, "70 01"),  # 14, boolean_value
    *("12 13", "0a 05", b"Score", _THEN, "69 000000000000f83f"),  # 13, double_value: 1.5
    *("12 0e", "0a 07", b"Bundle?", _THEN, "38 01"),  # 7, is_null
    *("12 12", "0a 07", b"Product", _THEN, "7a 04", b"bolt"),  # 15, string_value
    "18 ff01",  # 3, seq: 255
)
ASKED = _bytes(  # as other libraries write it, with fields that a station does not need
    _WHEN,
    *("12 21", "0a 14", REBIRTH.encode()),
    "10 01",  # 2, alias
    _THEN,
    "20 0b",  # 4, datatype: Boolean
    "30 00",  # 6, is_transient
    "70 01",
    *("22 03", b"abc"),  # 4, uuid
)


def test_a_death_is_these_bytes() -> None:
    assert write_payload({"bdSeq": 7}, {"bdSeq": Kind.INT64}, now=1.0, seq=None, is_birth=True) == DEATH


def test_news_are_these_bytes_and_leave_the_types_to_the_birth() -> None:
    kinds = {"Active": Kind.BOOLEAN, "Score": Kind.DOUBLE, "Bundle?": Kind.STRING, "Product": Kind.STRING}
    news = {"Active": True, "Score": 1.5, "Bundle?": None, "Product": "bolt"}
    assert write_payload(news, kinds, now=1.0, seq=255, is_birth=False) == NEWS


@pytest.mark.parametrize("value", ["", "Gehäuse", 0, 2**62, -0.5, False])
def test_every_value_is_read_as_it_was_written(value: str | int | float | bool) -> None:
    kind = {str: Kind.STRING, int: Kind.INT64, float: Kind.DOUBLE, bool: Kind.BOOLEAN}[type(value)]
    message = payload_class()()
    message.ParseFromString(write_payload({"x": value}, {"x": kind}, now=1.79e9, seq=0, is_birth=True))
    assert getattr(message.metrics[0], kind.field) == value
    assert message.metrics[0].datatype == kind
    assert message.timestamp == 1_790_000_000_000


def test_a_host_of_another_make_asks_for_a_rebirth() -> None:
    assert asks_for_rebirth(ASKED)
    assert asks_for_rebirth(rebirth_command())


@pytest.mark.parametrize(
    "command",
    [
        b"",
        rebirth_command(False),
        ASKED.replace(b"Rebirth", b"Restart"),
        ASKED[:-1],
        ASKED.replace(b"Node", b"\xff\xfe\xff\xfe"),
        b'{"rebirth": true}',
    ],
    ids=["empty", "false", "another", "cut off", "no UTF-8", "JSON"],
)
def test_whatever_else_comes_asks_for_nothing(command: bytes) -> None:
    assert not asks_for_rebirth(command)


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(command: bytes) -> None:
    asks_for_rebirth(command)


def test_without_protobuf_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    payload_class.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    try:
        with pytest.raises(
            SettingsError, match=r"protobuf is not installed\. Run: pip install 'edge-resad\[sparkplug\]'"
        ):
            payload_class()
    finally:
        payload_class.cache_clear()


def test_a_station_without_the_section_needs_no_protobuf() -> None:
    code = "import sys; import edge_resad.device.station; sys.exit('google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_doctor_says_whether_a_scada_will_see_the_station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_at(**told: str) -> tuple[str, str]:
        station = StationFile.model_validate(
            {
                "station": {"device": "press-7"},
                "camera": {"source": "synthetic"},
                "inspection": {"bank": "bank.npz"},
                "broker": {"host": "mqtt", "ca_file": str(tmp_path / "ca.pem")}
                if "cert_file" in told
                else {"host": "mqtt"},
                "sparkplug": {"group": "graz", **told},
            }
        )
        check = sparkplug(Case(station=station))
        assert check is not None
        return check.state, check.says

    assert looked_at() == ("ok", "a SCADA will see graz/press-7 at the broker at mqtt:1883")
    state, says = looked_at(cert_file="own.pem", key_file="own.key")
    assert (state, "cannot be read" in says) == ("problem", True)
    monkeypatch.setattr("edge_resad.device.doctor.sparkplug.payload_class", _missing)
    assert looked_at() == ("problem", "not installed")
    assert sparkplug(Case()) is None


def _missing() -> None:
    raise SettingsError("not installed")
