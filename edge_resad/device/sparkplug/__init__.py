"""Sparkplug B: a live view of the station for a SCADA, beside the station's own messages and never instead of them."""
