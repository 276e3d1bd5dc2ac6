"""The doctor: what a station finds on this machine, what it lacks, and what to do about it. Changes nothing."""

from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check
from edge_resad.device.doctor.examination import examine

__all__ = ["Case", "Check", "examine"]
