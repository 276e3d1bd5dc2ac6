"""What a station's file and a fleet's file are made of: typed sections, read with sentences for what is wrong."""

from __future__ import annotations

from edge_resad.sections.broker import BrokerAddress
from edge_resad.sections.credentials import read_password, read_tls
from edge_resad.sections.read import read_settings
from edge_resad.sections.section import FilePath, Section
from edge_resad.sections.words import expected, sections

__all__ = [
    "BrokerAddress",
    "FilePath",
    "Section",
    "expected",
    "read_password",
    "read_settings",
    "read_tls",
    "sections",
]
