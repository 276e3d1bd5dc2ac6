"""The machine and the station that are examined, and how one asks them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from edge_resad.device.gstreamer import gstreamer_version
from edge_resad.device.outputs.gpio import look_at_pin
from edge_resad.device.power_mode import ask_nvpmodel
from edge_resad.device.settings import StationFile
from edge_resad.engine.host import Gpu, Host, gpu_of_pycuda, this_host
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is examined. Everything that asks the machine can be replaced."""

    station: StationFile | None = None  # None: the machine alone
    root: Path = Path("/")  # where /dev, /etc, /proc, /sys and /var are looked for
    now: Callable[[], float] = time.time
    ask_gpu: Callable[[], Gpu | None] = gpu_of_pycuda
    ask_tensorrt: Callable[[], TensorRT] = find_tensorrt
    ask_power_mode: Callable[[], str] = ask_nvpmodel
    ask_opencv: Callable[[], str] = cv2.getBuildInformation
    ask_gstreamer: Callable[[], str] = gstreamer_version
    free_bytes: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)
    may: Callable[[Path, int], bool] = os.access
    look_at_pin: Callable[[str, int | str], str] = look_at_pin

    @property
    def host(self) -> Host:
        """GPU and L4T."""
        return this_host(l4t_file=self.root / "etc/nv_tegra_release", ask_gpu=self.ask_gpu)

    @property
    def tensorrt(self) -> TensorRT | EngineError:
        """TensorRT, or why there is none."""
        try:
            return self.ask_tensorrt()
        except EngineError as error:
            return error

    @property
    def is_jetson(self) -> bool:
        """Whether NVIDIA's system for Jetsons runs here."""
        return (self.root / "etc/nv_tegra_release").exists()

    @property
    def provider(self) -> str:
        """What the station asks to run its network."""
        return self.station.engine.provider if self.station else "cpu"
