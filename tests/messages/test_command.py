"""A command is for one station, says exactly what it wants, and has an end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_resad.messages import (
    COMMANDS,
    Address,
    Capture,
    Command,
    Desired,
    FetchImage,
    Moment,
    Reply,
    Reported,
    Telemetry,
    command_message,
    desired_message,
    read_command,
    read_desired,
    read_message,
    read_topic,
    reply_message,
    reported_message,
    telemetry_message,
    type_of,
)

ADDRESS = Address(site="graz", line="l4", device="jetson-07")
AT = Moment(boot_id="boot-1", wall=1.79e9, mono=12.5, clock_synced=True, clock_error_s=0.25)
ABOUT: dict[str, Any] = {"command_id": "c-1", "issued_by": "anna", "wall": 1e9, "expires_s": 60.0, "host": "office"}


def test_a_command_comes_to_its_station_with_its_arguments() -> None:
    payload = command_message(ADDRESS, "capture", arguments={"count": 20, "label": "good"}, **ABOUT)
    command, arguments = read_command(ADDRESS.command_topic("capture"), payload, to=ADDRESS, keys=None)
    assert arguments == Capture(count=20, label="good")
    assert (command.command_id, read_message(payload).source) == ("c-1", "er/v1/host/office")


@pytest.mark.parametrize(
    ("command", "arguments", "wrong"),
    [
        ("capture", {"count": 0}, "count"),
        ("capture", {"count": 1, "colour": "red"}, "colour.*it takes count, camera, label"),
        ("capture", {}, "count: Field required"),
        ("restart", {"now": True}, "it takes none"),
        ("threshold", {"value": float("nan")}, "value"),
        ("fetch-image", {"event": "e-1", "upload_url": "http://plain"}, "upload_url"),
        ("set-config", {"settings": {"Inspection": 1}}, "settings"),
        ("dance", {}, "there is no command 'dance': there are capture, deploy-bundle"),
    ],
)
def test_arguments_that_a_command_does_not_take_are_refused(
    command: str, arguments: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        command_message(ADDRESS, command, arguments=arguments, **ABOUT)


def test_an_argument_that_the_station_does_not_know_is_refused_though_a_field_is_not() -> None:
    message = json.loads(command_message(ADDRESS, "restart", **ABOUT))
    message["data"]["mood"] = "fine"
    read_command(ADDRESS.command_topic("restart"), json.dumps(message).encode(), to=ADDRESS, keys=None)
    message["data"]["arguments"]["gently"] = True
    with pytest.raises(ValueError, match="gently"):
        read_command(ADDRESS.command_topic("restart"), json.dumps(message).encode(), to=ADDRESS, keys=None)


def test_a_command_for_another_station_or_on_another_topic_is_refused() -> None:
    other = Address(site="graz", line="l4", device="jetson-08")
    payload = command_message(ADDRESS, "restart", **ABOUT)
    with pytest.raises(ValueError, match="is for er/v1/graz/l4/jetson-07, this station is er/v1/graz/l4/jetson-08"):
        read_command(other.command_topic("restart"), payload, to=other, keys=None)
    with pytest.raises(ValueError, match=r"it belongs on .*/cmd/restart"):
        read_command(ADDRESS.command_topic("snapshot"), payload, to=ADDRESS, keys=None)
    with pytest.raises(ValueError, match="no configuration"):
        read_desired(ADDRESS.desired_topic, payload, to=ADDRESS, keys=None)


def test_a_bridge_may_put_a_topic_under_another_site() -> None:
    payload = command_message(ADDRESS, "restart", **ABOUT)
    read_command("er/v1/plant/l4/jetson-07/cmd/restart", payload, to=ADDRESS, keys=None)


def test_a_command_expires_after_its_seconds() -> None:
    command = read_message(command_message(ADDRESS, "restart", **ABOUT)).data
    assert isinstance(command, Command)
    assert not command.expired(1e9 + 59.9)
    assert command.expired(1e9 + 60)


@pytest.mark.parametrize("expires_s", [0, -1, 86_401, float("inf")])
def test_a_command_without_a_sensible_end_is_refused(expires_s: float) -> None:
    with pytest.raises(ValueError, match="expires_s"):
        command_message(ADDRESS, "restart", **{**ABOUT, "expires_s": expires_s})


def test_a_reply_that_is_said_again_has_the_same_id() -> None:
    answer: dict[str, Any] = {"command_id": "c-1", "command": "self-test", "status": "done", "result": {"worst": 1e-4}}
    first, second = (read_message(reply_message(ADDRESS, AT, **answer, again=again)) for again in (False, True))
    assert first.id == second.id == "c-1-done"
    assert isinstance(second.data, Reply)
    assert (second.data.again, second.data.result, second.data.boot_id) == (True, {"worst": 1e-4}, "boot-1")


def test_every_command_has_a_topic_and_the_longest_id_has_replies() -> None:
    for name in COMMANDS:
        assert type_of(ADDRESS.command_topic(name)) == "edge-resad.command"
    longest = "x" * 48
    reply_message(ADDRESS, AT, command_id=longest, command="restart", status="accepted")
    assert read_topic(ADDRESS.reply_topic(longest)).name == longest
    with pytest.raises(ValueError, match="command_id"):
        command_message(ADDRESS, "restart", **{**ABOUT, "command_id": "x" * 49})


def test_a_picture_is_asked_for_by_its_message() -> None:
    wish = {"event": "s-42", "what": "heatmap", "upload_url": "https://fleet/pictures/s-42"}
    payload = command_message(ADDRESS, "fetch-image", arguments=wish, **ABOUT)
    _, arguments = read_command(ADDRESS.command_topic("fetch-image"), payload, to=ADDRESS, keys=None)
    assert isinstance(arguments, FetchImage)
    assert (arguments.event, arguments.what, arguments.token_id) == ("s-42", "heatmap", None)


def test_a_configuration_is_wished_for_and_reported() -> None:
    about: dict[str, Any] = {"event_id": "d-4", "version": 4, "issued_by": "anna", "wall": 1e9, "host": "office"}
    wish = desired_message(ADDRESS, settings={"inspection.debounce_k": 2}, **about)
    desired = read_desired(ADDRESS.desired_topic, wish, to=ADDRESS, keys=None)
    assert isinstance(desired, Desired)
    refused = {"inspection.debounce_k": "2 is more than debounce_n, which is 1"}
    said = reported_message(
        ADDRESS, AT, event_id="r-1", settings={"inspection.debounce_k": 1}, version=4, status="refused", refused=refused
    )
    reported = read_message(said).data
    assert isinstance(reported, Reported)
    assert (reported.version, reported.status, reported.refused) == (desired.version, "refused", refused)


def test_telemetry_says_what_it_can_and_leaves_out_the_rest() -> None:
    said = telemetry_message(ADDRESS, AT, event_id="tm-1", up_s=60.0, temperatures_c={"gpu": 61.5}, throttled=())
    telemetry = read_message(said).data
    assert isinstance(telemetry, Telemetry)
    assert (telemetry.temperatures_c, telemetry.throttled, telemetry.memory) == ({"gpu": 61.5}, (), None)
    assert (telemetry.clock_error_s, telemetry.device) == (0.25, "jetson-07")
    assert b"memory" not in said
    with pytest.raises(ValueError, match="warmth"):
        telemetry_message(ADDRESS, AT, event_id="tm-1", up_s=60.0, warmth=3)
