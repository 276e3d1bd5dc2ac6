"""The station file and its sections."""

from __future__ import annotations

from edge_resad.device.settings.broker import BrokerSection
from edge_resad.device.settings.camera import SOURCES, CameraSection, SourceKind, is_camera, split_source
from edge_resad.device.settings.commands import CommandsSection
from edge_resad.device.settings.control import ControlSection
from edge_resad.device.settings.drift import DriftSection
from edge_resad.device.settings.engine import EngineSection
from edge_resad.device.settings.file import StationFile, load_station
from edge_resad.device.settings.inspection import InspectionSection
from edge_resad.device.settings.log import LogSection
from edge_resad.device.settings.machine import MachineSection
from edge_resad.device.settings.metrics import MetricsSection
from edge_resad.device.settings.outputs import Cause, EncoderSection, OutputSection
from edge_resad.device.settings.pictures import PicturesSection
from edge_resad.device.settings.place import StationSection
from edge_resad.device.settings.products import ProductsSection, ScheduleSection
from edge_resad.device.settings.sparkplug import SparkplugSection
from edge_resad.device.settings.spool import SpoolSection
from edge_resad.device.settings.trigger import TriggerSection
from edge_resad.device.settings.watch import WatchSection

__all__ = [
    "SOURCES",
    "BrokerSection",
    "CameraSection",
    "Cause",
    "CommandsSection",
    "ControlSection",
    "DriftSection",
    "EncoderSection",
    "EngineSection",
    "InspectionSection",
    "LogSection",
    "MachineSection",
    "MetricsSection",
    "OutputSection",
    "PicturesSection",
    "ProductsSection",
    "ScheduleSection",
    "SourceKind",
    "SparkplugSection",
    "SpoolSection",
    "StationFile",
    "StationSection",
    "TriggerSection",
    "WatchSection",
    "is_camera",
    "load_station",
    "split_source",
]
