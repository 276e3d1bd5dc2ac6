"""A program that shows something by Sparkplug until it is killed. PORT: the broker's. FILE: of connections' numbers."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from edge_resad.device.settings import BrokerSection, SparkplugSection
from edge_resad.device.sparkplug.sparkplug import Sparkplug
from tests.device.sparkplug.host import Shown

if __name__ == "__main__":
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    told, broker = SparkplugSection(group="graz"), BrokerSection(host="127.0.0.1", port=port)
    with Sparkplug(told, broker, Shown(), device="press-7", bd_seq_file=file):
        threading.Event().wait()
