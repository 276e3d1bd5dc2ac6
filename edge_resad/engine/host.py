"""The machine that an engine is built on and runs on, as far as it says what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

L4T_FILE = Path("/etc/nv_tegra_release")


class Gpu(BaseModel):
    """The first GPU and what drives it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sm: str  # compute capability, such as SM87
    cuda: str  # the CUDA that pycuda was built with
    driver_cuda: str  # the newest CUDA that the driver speaks


class Host(BaseModel):
    """What is known of a machine; None is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: Gpu | None
    l4t: str | None  # of a Jetson, such as 36.4.3


def this_host(*, l4t_file: Path = L4T_FILE, ask_gpu: Callable[[], Gpu | None] | None = None) -> Host:
    """The machine we are on."""
    return Host(gpu=(ask_gpu or gpu_of_pycuda)(), l4t=_l4t(l4t_file))


def gpu_of_pycuda() -> Gpu | None:
    """The first GPU, without a context on it; None where there is no pycuda, no driver or no GPU."""
    try:
        import pycuda.driver as driver
    except (ImportError, OSError):  # pycuda is an extra, and loads libcuda
        return None
    try:
        driver.init()
        device = driver.Device(0)
        name = device.name()
        major, minor = device.compute_capability()
        speaks = driver.get_driver_version()  # 12060 is 12.6
    except driver.Error:
        return None
    return Gpu(
        name=name,
        sm=f"SM{major}{minor}",
        cuda=".".join(str(part) for part in driver.get_version()[:2]),
        driver_cuda=f"{speaks // 1000}.{speaks % 1000 // 10}",
    )


def _l4t(file: Path) -> str | None:
    """From `# R36 (release), REVISION: 4.3, ...`: 36.4.3."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None
