"""Who may command a station: a role's key, and the signature that it gives a command."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field, ValidationError

from edge_resad.errors import SettingsError
from edge_resad.messages.strict import MAX_WHOLE, READING, Strict, parse
from edge_resad.messages.topic import Address, Id

Role = Literal["operator", "engineer", "admin"]
"""Each may do what those before it may."""
_ROLES: tuple[Role, ...] = get_args(Role)
_DERIVES = b"key of one device\0"


class SignatureRefused(ValueError):
    """A message that is not signed as it must be; the text says what is wrong with it."""


class Signature(Strict):
    """Says that whoever wrote the message has a role's key."""

    algorithm: Literal["hmac-sha256"] = "hmac-sha256"
    key_id: Id
    role: Role
    mac: str = Field(pattern=r"^[0-9a-f]{64}$")


class SigningKey(Strict):
    """A role's key: of the whole fleet, or what is derived from it for one device."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an error must not tell the secret

    key_id: Id
    role: Role
    device: str | None = None  # the topic prefix of the one device that it is for; None: the fleet's own
    secret: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)

    def for_device(self, address: Address) -> SigningKey:
        """What one device needs to check a signature. It does not tell the fleet's key, nor another device's."""
        if self.device is None:
            derived = hmac.digest(bytes.fromhex(self.secret), _DERIVES + address.prefix.encode(), "sha256")
            return self.model_copy(update={"device": address.prefix, "secret": derived.hex()})
        if self.device != address.prefix:
            raise ValueError(f"the key {self.key_id} is for {self.device}, not for {address.prefix}")
        return self


def outranks(role: Role, needed: Role) -> bool:
    """Whether a role may do what another is needed for."""
    return _ROLES.index(role) >= _ROLES.index(needed)


def new_key(key_id: str, role: Role) -> SigningKey:
    """A key of the fleet that nobody has yet."""
    return SigningKey(key_id=key_id, role=role, secret=secrets.token_hex(32))


def read_key(path: Path) -> SigningKey:
    """A key from its file."""
    try:
        if path.stat().st_mode & 0o007:
            raise SettingsError(f"everybody may read the key {path}: chmod 600 it, or make a new one.")
        return SigningKey.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the key {path} cannot be read: {error.strerror}. Give the station its file.") from error
    except ValidationError as error:
        raise SettingsError(f"{path} is no key of a role: copy it anew from where it was made.") from error


def write_key(key: SigningKey, path: Path) -> None:
    """Write a key into a new file that its owner alone may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(key.model_dump_json(exclude_none=True) + "\n")


def signed(payload: bytes, key: SigningKey | None, address: Address) -> bytes:
    """A command or a configuration, signed for one device; as it is without a key."""
    if key is None:
        return payload
    key = key.for_device(address)
    message = json.loads(payload)
    about = {"algorithm": "hmac-sha256", "key_id": key.key_id, "role": key.role}
    message["data"]["signature"] = {**about, "mac": _mac(message, about, key)}
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def check_signature(payload: bytes, keys: Iterable[SigningKey], address: Address) -> Role:
    """The role that signed a message for this device; SignatureRefused where it is not signed as it must be.

    All of `data` and the type are covered, fields that this reader does not know among them.
    """
    try:
        message = parse(payload)
    except ValueError as error:
        raise SignatureRefused(str(error)) from error
    found = message["data"].get("signature") if _is_table(message, "data") else None
    if found is None:
        raise SignatureRefused("the message is not signed: sign it with the key of a role")
    try:
        signature = Signature.model_validate(found, context=READING)
    except ValidationError as error:
        raise SignatureRefused("the signature lacks an algorithm, key_id, role or mac that we know") from error
    known = {key.key_id: key for key in keys}
    key = known.get(signature.key_id)
    if key is None:
        raise SignatureRefused(f"the key {signature.key_id} is not known here: known are {sorted(known) or 'none'}")
    if signature.role != key.role:
        raise SignatureRefused(f"the key {key.key_id} is of the role {key.role}, not {signature.role}")
    about = {name: value for name, value in found.items() if name != "mac"}
    try:
        expected = _mac(message, about, key.for_device(address))
    except (ValueError, RecursionError) as error:  # a key of another device; NaN and lone surrogates are no JSON
        raise SignatureRefused(f"the signature cannot be checked: {error}") from error
    if not hmac.compare_digest(expected, signature.mac):
        raise SignatureRefused(
            f"the signature does not fit the message: it was changed, or is not of the key {key.key_id}"
        )
    return key.role


def _mac(message: Mapping[str, Any], about: Mapping[str, Any], key: SigningKey) -> str:
    covered = {"type": message.get("type"), "data": {**message["data"], "signature": about}}
    return hmac.new(bytes.fromhex(key.secret), canonical(covered), hashlib.sha256).hexdigest()


def upload_token(key: SigningKey, address: Address, path: str) -> str:
    """What a station shows a server with a picture: it says whose it is, for this path of the URL and no other.

    key: of the fleet or already of the device.
    """
    secret = bytes.fromhex(key.for_device(address).secret)
    return hmac.new(secret, b"upload\0" + path.encode(), hashlib.sha256).hexdigest()


def image_path(address: Address, event: str, what: str) -> str:
    """The path of a picture's URL at a fleet's receiver."""
    return f"/v1/images/{address.site}/{address.line}/{address.device}/{event}/{what}"


def canonical(value: object) -> bytes:
    """One spelling of a JSON value: keys sorted, no spaces, UTF-8, whole numbers without a decimal point.

    Other numbers are as Python's json writes them; from 0.0001 to 10^16 that is how JavaScript writes them too.
    """
    plain = _whole_without_point(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _whole_without_point(value: object) -> object:
    if isinstance(value, dict):
        return {name: _whole_without_point(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_whole_without_point(part) for part in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_WHOLE:
        return int(value)  # a program between us may have written 60.0 as 60
    return value


def _is_table(message: object, name: str) -> bool:
    return isinstance(message, dict) and isinstance(message.get(name), dict)
