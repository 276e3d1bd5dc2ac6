"""Sparkplug B: whether what the view for a SCADA needs is there."""

from __future__ import annotations

from edge_resad.device.access import read_access
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem
from edge_resad.device.sparkplug.payload import payload_class
from edge_resad.errors import SettingsError


def sparkplug(case: Case) -> Check | None:
    """The package and the credentials. The broker is not asked: a node that runs could be thrown out."""
    if case.station is None or case.station.sparkplug is None or case.station.broker is None:
        return None
    told, broker, device = case.station.sparkplug, case.station.broker, case.station.station.device
    try:
        payload_class()
        read_access(told.access(broker), client_id=told.client_of(device), connect_timeout_s=0.0)
    except SettingsError as error:
        return problem("sparkplug", str(error))
    return ok("sparkplug", f"a SCADA will see {told.group}/{told.node_of(device)} at the broker at {broker.where}")
