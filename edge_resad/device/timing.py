"""How patient a publisher is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How patient a publisher is, in seconds."""

    connect_s: float = 5.0  # for the socket and TLS
    connack_s: float = 10.0  # for the broker to let us in
    suback_s: float = 5.0  # for the broker to let us hear; then the station says that it is there all the same
    puback_s: float = 30.0  # without any answer to what was sent
    retry_s: float = 10.0  # before a letter that was refused for now asks again; doubles up to 5 minutes
    short_s: float = 5.0  # a connection that holds no longer says something
    drain_s: float = 0.8  # on close, for what still waits
    goodbye_s: float = 0.4  # on close, for the broker to take our leave
    close_s: float = 1.9  # then the thread is left to itself
    will_delay_s: int = 5
    state_s: float = 60.0  # between two states of one connection
    ill_s: float = 10.0  # between two of which one says that the outbox is ill, or well again
    ack_s: float = 30.0  # for a collector to say that a message is stored; then it is sent again
    ack_max_s: float = 600.0  # between two such tries while no collector answers
    states_s: float = 5.0  # for an acknowledgement, where no collector has ever said that it is there
    come_s: float = 10.0  # over which stations spread what they send again when a collector has come
    gaps_s: float = 10.0  # between two messages about what was given up
