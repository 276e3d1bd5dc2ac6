"""Fake trees of /proc, /sys, /etc and /dev, as the machines have them that no test has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ORIN_NANO: Mapping[str, str] = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": (
        "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n"
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n\n"
        "< POWER_MODEL ID=1 NAME=25W >\nCPU_ONLINE CORE_0 1\n\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd aes asimdhp asimddp\nCPU part\t: 0xd42\n\nprocessor\t: 1\n",
    "proc/meminfo": "MemTotal: 7802928 kB\nMemFree: 900000 kB\nMemAvailable: 5000000 kB\nSwapTotal: 0 kB\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51500\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "104500\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "passive\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "99000\n",
    "sys/class/thermal/thermal_zone0/trip_point_2_type": "active\n",
    "sys/class/thermal/thermal_zone0/trip_point_2_temp": "50000\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "53000\n",
    "sys/class/thermal/thermal_zone1/trip_point_0_type": "passive\n",
    "sys/class/thermal/thermal_zone1/trip_point_0_temp": "99000\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",  # without power: no temperature
    "sys/class/thermal/thermal_zone3/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone3/temp": "-256000\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/thermal/cooling_device1/type": "gpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "0\n",
    "sys/class/hwmon/hwmon1/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon1/oc3_event_cnt": "0\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    "sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\0",
    "sys/class/devfreq/17000000.gpu/device/load": "345\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1728000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "729600\n",
}
"""A Jetson Orin Nano with JetPack 6.2 in its 25 W mode."""

PC: Mapping[str, str] = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5-8500 CPU @ 3.00GHz\nflags\t\t: fpu sse avx2\n",
    "proc/meminfo": "MemTotal:       16300000 kB\nMemAvailable:   12000000 kB\nSwapTotal:       2000000 kB\n",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "61000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0\n",
}
"""A PC from a time before VNNI."""


def plant(root: Path, *trees: Mapping[str, str]) -> Path:
    """Write trees; of a file that two have, the later one's. Returns the root."""
    for tree in trees:
        for name, text in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    return root
