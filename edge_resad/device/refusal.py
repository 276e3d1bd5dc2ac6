"""A refusal: why a broker is not there, does not let us in or does not take a message, said to the operator."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

UNSUPPORTED_PROTOCOL = 0x84
_CREDENTIALS = {0x86, 0x87, 0x8A, 0x8C}  # wrong password, not authorized, banned, wrong method
_CLIENT_ID = 0x85
_ELSEWHERE = {0x9C, 0x9D}  # use another server, server moved
_NO_QOS = 0x9B


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a broker did not let us in."""

    problem: str
    slowly: bool  # a person must act first: asking often would only fill the broker's log


def refusal(reason: int, name: str, *, where: str, username: str | None, device: str) -> Refusal:
    """What a failed CONNACK means for the operator."""
    said = f"the broker at {where} refuses this station ({name})"
    if reason in _CREDENTIALS:
        who = f"the user {username!r}" if username else "a station without a name"
        todo = f"It was asked as {who}: check [broker] username, password_file and cert_file"
        return Refusal(problem=f"{said}. {todo}; messages wait in the spool.", slowly=True)
    if reason == _CLIENT_ID:
        return Refusal(
            problem=f"{said}. It does not accept the client id {device!r}: see [station] device.", slowly=True
        )
    if reason == UNSUPPORTED_PROTOCOL:
        return Refusal(problem=f'{said}. Set [broker] protocol = "auto".', slowly=True)
    if reason in _ELSEWHERE:
        return Refusal(problem=f"{said}: the broker has moved. Set [broker] host to the new one.", slowly=True)
    if reason == _NO_QOS:
        todo = "It takes no QoS 1, with which nothing can be delivered safely: use another broker"
        return Refusal(problem=f"{said}. {todo}; messages wait in the spool.", slowly=True)
    return Refusal(problem=f"{said}; messages wait in the spool and the station tries again.", slowly=False)


def no_broker(error: OSError, *, where: str) -> str:
    """What it means that no connection could be made."""
    waits = "Messages wait in the spool."
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        return (
            f"the broker at {where} shows a certificate that cannot be trusted ({error.verify_message}). "
            f"Check [broker] ca_file, host and this station's clock (it says {clock} UTC). {waits}"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no TLS with the broker at {where} ({error.reason}). Check [broker] port, cert_file and key_file. {waits}"
        )
    if isinstance(error, TimeoutError):
        return no_answer(where=where)
    return f"no broker at {where} ({error.strerror or error}). Check [broker] host and port, and the network. {waits}"


def no_clock(now: float, *, where: str) -> str:
    """What it means that the clock is so wrong that no certificate could be judged. now: what it says."""
    clock = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
    return (
        f"this station's clock is not set (it says {clock} UTC), so the certificate of the broker at {where} cannot be "
        'judged. Let it be set over the network, or set [broker] without_clock = "connect". Messages wait in the spool.'
    )


def certificate_ended(ends_s: float, *, where: str, file: object) -> str:
    """What it means that the broker lets a station with an old certificate stand outside. ends_s: since 1970."""
    ended = time.strftime("%Y-%m-%d %H:%M", time.gmtime(ends_s))
    return (
        f"the broker at {where} does not let us in: this station's certificate {file} ended on {ended} UTC. "
        "Give it a new one; messages wait in the spool."
    )


def no_answer(*, where: str) -> str:
    """What it means that nothing came back: from the network, or from who took the connection."""
    return (
        f"no answer from {where}. Check [broker] host and port, and that a broker is behind them. "
        "Messages wait in the spool."
    )


def hung_up(why: str, *, where: str, with_tls: bool) -> str:
    """What it means that the broker closed the connection before it answered. why: what happened."""
    wants = "a certificate ([broker] cert_file)" if with_tls else "TLS ([broker] ca_file)"
    return f"the broker at {where} does not let us in: {why}. Does this port want {wants}? Messages wait in the spool."


def topic_refused(topic: str, said: str, *, where: str, user: str) -> str:
    """What it means that the broker takes no messages on a topic for now. said: the broker's reason."""
    return (
        f"the broker at {where} does not take messages on {topic} ({said}). "
        f"Check what it allows the user {user!r}; "
        "messages wait and are tried again."
    )


def nobody_subscribes(topic: str, *, where: str) -> str:
    """What it means that the broker drops what is sent to it, for nobody wants it."""
    return (
        f"nobody subscribes to {topic} at the broker at {where}, which drops such messages. They wait in the spool and "
        "are tried again. Let somebody subscribe with QoS 1 and a session that stays."
    )


def state_too_large(most_bytes: int | None, *, where: str, is_sent: bool) -> str:
    """What it means that the broker takes no message as large as the state. is_sent: with less in it.

    most_bytes: what it takes; None where it only hangs up.
    """
    until = "" if most_bytes is not None else " until the next start"
    what = (
        f"goes with less in it{until}"
        if is_sent
        else f"is not sent{until}, so nobody sees that it is there. Other messages go on"
    )
    if most_bytes is None:
        return (
            f"the broker at {where} hangs up at this station's state: it {what}. Let the broker take larger messages."
        )
    return (
        f"the broker at {where} takes no message of more than {most_bytes} bytes: this station's state is larger and "
        f"{what}. Let it take larger ones (mosquitto: max_packet_size)."
    )


def not_heard(topic_filter: str, said: str, *, where: str, user: str) -> str:
    """What it means that the broker does not let the station hear a topic. said: the broker's reason."""
    return (
        f"the broker at {where} does not let this station hear {topic_filter} ({said}). "
        f"Allow the user {user!r} to read it."
    )


def collectors_gone(names: Sequence[str], *, where: str) -> str:
    """What it means that collectors were there, and each says, or the broker for it, that it is gone. names: theirs."""
    who = f"the collector {names[0]}" if len(names) == 1 else f"the collectors {', '.join(names[:5])}"
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{who} behind the broker at {where} {verb} gone: nobody stores the messages of this station. They wait in the "
        "spool and go when one is back. Start edge-resad fleet ingest there."
    )


def no_collector(*, where: str) -> str:
    """What it means that no collector has said that it is there, and none acknowledges what was sent."""
    return (
        f"no collector says at the broker at {where} that it is there, and none has stored what was sent. Messages "
        'wait in the spool. Start edge-resad fleet ingest at this broker, or set [spool] ack = "broker".'
    )


def collector_stores_nothing(names: Sequence[str], *, where: str) -> str:
    """What it means that a collector says that it is there, and not that it stores anything. names: who is there."""
    return (
        f"the collector {names[0]} behind the broker at {where} is there and does not say that it has stored the "
        "messages of this station. They wait in the spool. Look at its log, and whether it may write on ack."
    )


def nobody_acknowledges(*, where: str) -> str:
    """What it means that messages reach the broker and no collector says that it has stored them."""
    return (
        f"no collector behind the broker at {where} says that it has stored the messages of this station. They wait in "
        'the spool. Start edge-resad fleet ingest at this broker, or set [spool] ack = "broker".'
    )
