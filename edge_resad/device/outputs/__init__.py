"""Signals to the line: what becomes of each part, shown at a pin or at a PLC while the part is still there."""

from edge_resad.device.outputs.encoder import Encoder
from edge_resad.device.outputs.open import open_outputs, terminal_of, ticks_of
from edge_resad.device.outputs.output import Output
from edge_resad.device.outputs.outputs import Outputs
from edge_resad.device.outputs.wiring import OutputStatus, Wiring

__all__ = ["Encoder", "Output", "OutputStatus", "Outputs", "Wiring", "open_outputs", "terminal_of", "ticks_of"]
