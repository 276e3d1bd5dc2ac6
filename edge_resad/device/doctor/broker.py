"""The broker: whether it is there and lets this station in, asked in a name of the doctor's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.device.access import Access, read_access
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.refusal import UNSUPPORTED_PROTOCOL, hung_up, no_answer, no_broker, refusal
from edge_resad.errors import SettingsError

TIMEOUT_S = 3.0  # for the socket and TLS, and once more for an answer
PATIENCE_S = 8.0  # for everything: a name that no network resolves takes longer
_WRONG_ID = 0x85

Version = Literal["5", "3.1.1"]
_VERSIONS: dict[Version, Any] = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a broker said to who knocked."""

    version: Version
    accepted: bool = False
    refused: tuple[int, str] | None = None  # reason code and its name
    hung_up: bool = False  # without a word; neither of the three: no answer in time


def broker(case: Case) -> Check | None:
    """Knock with the station's address, password and certificates; the station itself is not thrown out."""
    if case.station is None:
        return None
    name, told, device = "broker", case.station.broker, case.station.station.device
    if told is None:
        return warning(name, "the station file has no [broker]: alerts wait in the spool, and nobody hears of them")
    try:
        access = read_access(told, client_id=f"{device}-doctor", connect_timeout_s=TIMEOUT_S, device=device)
        versions: list[Version] = ["5", "3.1.1"] if told.protocol == "auto" else [told.protocol]
        answer = _in_time(access, versions)
    except SettingsError as error:
        return problem(name, str(error))
    except OSError as error:
        return problem(name, no_broker(error, where=told.where))
    if answer is None:
        return problem(name, no_answer(where=told.where))
    if answer.accepted:
        return ok(name, f"the broker at {told.where} lets the station in, with MQTT {answer.version}")
    if answer.refused is None:
        why = "it closed the connection without an answer"
        with_tls = told.ca_file is not None
        gone = hung_up(why, where=told.where, with_tls=with_tls) if answer.hung_up else no_answer(where=told.where)
        return problem(name, gone)
    if answer.refused[0] == _WRONG_ID:
        return warning(
            name,
            f"the broker at {told.where} is there and does not take {access.client_id!r} for a name; whether it takes "
            f"{device!r} shows when the station runs",
        )
    reason, called = answer.refused
    return problem(name, refusal(reason, called, where=told.where, username=told.username, device=device).problem)


def _in_time(access: Access, versions: Sequence[Version]) -> _Answer | None:
    """The answer, in a version that the broker knows; None where none came in time. OSError where nobody is there."""
    heard: list[_Answer | Exception] = []

    def ask() -> None:
        try:
            for version in versions:
                answer = _knock(access, version)
                if answer.accepted or (answer.refused is not None and answer.refused[0] != UNSUPPORTED_PROTOCOL):
                    break
            heard.append(answer)
        except Exception as error:  # raised again below, in the thread that can say it
            heard.append(error)

    asking = threading.Thread(target=ask, name="doctor", daemon=True)
    asking.start()
    asking.join(PATIENCE_S)
    if not heard:
        return None
    if isinstance(heard[0], Exception):
        raise heard[0]
    return heard[0]


def _knock(access: Access, version: Version) -> _Answer:
    """Connect, hear whether we may come in, and go. OSError where nobody is there."""
    answers: list[tuple[int, str]] = []

    def heard(client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        answers.append((reason.value, str(reason)))

    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=access.client_id,
        protocol=_VERSIONS[version],
        reconnect_on_failure=False,
    )
    client.on_connect = heard
    client.connect_timeout = access.connect_timeout_s
    if access.username is not None:
        client.username_pw_set(access.username, access.password)
    if access.tls is not None:
        client.tls_set_context(access.tls)
    client.connect(access.host, access.port, access.keepalive_s)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not answers and time.monotonic() < deadline:
            if client.loop(0.1) != mqtt.MQTT_ERR_SUCCESS and not answers:
                return _Answer(version=version, hung_up=True)
        if answers and answers[0][0] < 0x80:
            client.disconnect()
            return _Answer(version=version, accepted=True)
        return _Answer(version=version, refused=answers[0] if answers else None)
    finally:
        sock = client.socket()
        if sock is not None:
            sock.close()
