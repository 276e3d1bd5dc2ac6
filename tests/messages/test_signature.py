"""A signature says who may command a station, and covers all that matters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_resad.errors import SettingsError
from edge_resad.messages import (
    Address,
    Role,
    SignatureRefused,
    SigningKey,
    check_signature,
    command_message,
    desired_message,
    new_key,
    outranks,
    read_command,
    read_desired,
    read_key,
    write_key,
)
from edge_resad.messages.signature import canonical

ADDRESS = Address(site="graz", line="l4", device="jetson-07")
OTHER = Address(site="graz", line="l4", device="jetson-08")
KEY = SigningKey(key_id="engineer-1", role="engineer", secret="5a" * 32)
OPERATOR = SigningKey(key_id="operator-1", role="operator", secret="5b" * 32)
TOPIC = ADDRESS.command_topic("threshold")


def _command(key: SigningKey | None = KEY, address: Address = ADDRESS, **more: Any) -> bytes:
    about: dict[str, Any] = {"command_id": "c-1", "issued_by": "anna", "wall": 1e9, "expires_s": 60.0, "host": "office"}
    return command_message(address, "threshold", arguments={"value": 1.25}, key=key, **{**about, **more})


def test_a_signed_command_is_taken_and_tells_its_role() -> None:
    assert check_signature(_command(), [KEY], ADDRESS) == "engineer"
    command, arguments = read_command(TOPIC, _command(), to=ADDRESS, keys=[OPERATOR, KEY])
    assert (command.command_id, command.issued_by, arguments.model_dump()) == (
        "c-1",
        "anna",
        {"value": 1.25, "camera": None},
    )


def test_a_station_needs_only_what_is_derived_for_it() -> None:
    own = KEY.for_device(ADDRESS)
    assert own.secret != KEY.secret
    assert check_signature(_command(), [own], ADDRESS) == "engineer"
    assert own.for_device(ADDRESS) == own
    with pytest.raises(ValueError, match="is for er/v1/graz/l4/jetson-07, not for er/v1/graz/l4/jetson-08"):
        own.for_device(OTHER)


def test_a_stolen_station_commands_no_other() -> None:
    stolen = KEY.for_device(OTHER)
    forged = json.loads(_command(stolen, OTHER))
    forged["data"]["device"] = ADDRESS.device
    with pytest.raises(SignatureRefused, match="does not fit"):
        check_signature(json.dumps(forged).encode(), [KEY], ADDRESS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("command", "restart"),
        ("arguments", {"value": 1.26}),
        ("arguments", {"value": 1.25, "camera": "cam1"}),
        ("command_id", "c-2"),
        ("issued_by", "eve"),
        ("issued_wall_s", 2e9),
        ("expires_s", 86_400),
        ("device", "jetson-08"),
        ("added", True),
    ],
)
def test_whatever_is_changed_is_noticed(name: str, value: object) -> None:
    message = json.loads(_command())
    message["data"][name] = value
    with pytest.raises(SignatureRefused, match="does not fit"):
        check_signature(json.dumps(message).encode(), [KEY], ADDRESS)


def test_a_signature_of_one_kind_of_message_is_none_of_another() -> None:
    message = json.loads(_command())
    message["type"] = "edge-resad.config-desired"
    with pytest.raises(SignatureRefused, match="does not fit"):
        check_signature(json.dumps(message).encode(), [KEY], ADDRESS)


def test_a_program_between_may_write_the_json_anew() -> None:
    message = json.loads(_command())
    message["data"]["expires_s"] = 60  # as JavaScript writes 60.0
    anew = json.dumps(dict(reversed(message.items())), indent=1, ensure_ascii=True).encode()
    assert check_signature(anew, [KEY], ADDRESS) == "engineer"


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (None, "not signed"),
        ("engineer", "lacks"),
        ({"algorithm": "none", "key_id": "engineer-1", "role": "engineer", "mac": "0" * 64}, "lacks"),
        ({"algorithm": "hmac-sha256", "key_id": "engineer-1", "role": "engineer", "mac": ""}, "lacks"),
        ({"algorithm": "hmac-sha256", "key_id": "gone", "role": "engineer", "mac": "0" * 64}, "known are"),
        ({"algorithm": "hmac-sha256", "key_id": "engineer-1", "role": "admin", "mac": "0" * 64}, "not admin"),
        ({"algorithm": "hmac-sha256", "key_id": "engineer-1", "role": "engineer", "mac": "0" * 64}, "does not fit"),
    ],
)
def test_what_is_not_signed_as_it_must_be_is_refused(found: object, wrong: str) -> None:
    message = json.loads(_command(key=None))
    if found is not None:
        message["data"]["signature"] = found
    with pytest.raises(SignatureRefused, match=wrong):
        check_signature(json.dumps(message).encode(), [KEY], ADDRESS)


def test_a_role_does_what_those_below_it_do_and_no_more() -> None:
    roles: tuple[Role, ...] = ("operator", "engineer", "admin")
    assert [[outranks(role, needed) for needed in roles] for role in roles] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    with pytest.raises(SignatureRefused, match="needs the key of the role engineer, this is signed by operator"):
        read_command(TOPIC, _command(OPERATOR), to=ADDRESS, keys=[OPERATOR, KEY])


def test_a_configuration_is_signed_as_a_command_is() -> None:
    about: dict[str, Any] = {"event_id": "d-1", "version": 1, "issued_by": "anna", "wall": 1e9, "host": "office"}
    settings = {"inspection.debounce_k": 2}
    payload = desired_message(ADDRESS, settings=settings, key=KEY, **about)
    topic = ADDRESS.desired_topic
    assert read_desired(topic, payload, to=ADDRESS, keys=[KEY.for_device(ADDRESS)]).settings == settings
    weak = desired_message(ADDRESS, settings=settings, key=OPERATOR, **about)
    with pytest.raises(SignatureRefused, match="engineer"):
        read_desired(topic, weak, to=ADDRESS, keys=[OPERATOR])
    with pytest.raises(SignatureRefused, match="not signed"):
        read_desired(topic, desired_message(ADDRESS, settings=settings, **about), to=ADDRESS, keys=[KEY])


def test_a_key_is_written_once_for_its_owner_alone(tmp_path: Path) -> None:
    key, path = new_key("admin-1", "admin"), tmp_path / "admin.key"
    write_key(key, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == key
    assert new_key("admin-1", "admin").secret != key.secret
    with pytest.raises(FileExistsError):
        write_key(key, path)


def test_a_key_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_key(KEY, path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match=r"everybody may read .*chmod 600"):
        read_key(path)


@pytest.mark.parametrize("text", ["", "{}", '{"key_id":"a","role":"king","secret":"00"}', "\x00"])
def test_a_file_that_is_no_key_is_named_without_what_is_in_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="is no key of a role"):
        read_key(path)


def test_a_missing_key_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_key(tmp_path / "key")


def test_a_key_does_not_show_its_secret() -> None:
    assert KEY.secret not in repr(KEY)
    with pytest.raises(ValueError, match="secret") as caught:
        SigningKey(key_id="a", role="admin", secret="not for your eyes")
    assert "not for your eyes" not in str(caught.value)


def test_the_canonical_form_is_what_the_document_says() -> None:
    assert canonical({"b": [1.0, 0.5, True, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,0.5,true,null]}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("nan"))


@pytest.mark.parametrize("name", ["command-threshold", "config-desired"])
def test_a_recorded_signature_holds_for_ever(name: str) -> None:
    payload = (Path(__file__).parent / "v1" / f"{name}.json").read_bytes()
    key = SigningKey(key_id="engineer-1", role="engineer", secret="00" * 32)
    assert check_signature(payload, [key], ADDRESS) == "engineer"
    with pytest.raises(SignatureRefused, match="does not fit"):
        check_signature(payload, [KEY], ADDRESS)
