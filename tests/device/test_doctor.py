"""The doctor: what it says of machines that no test has, of stations with one thing wrong, and of this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import cv2
import pytest
from typer.testing import CliRunner

import edge_resad.device.doctor.examination as examination
from edge_resad.cli import app
from edge_resad.demo.products import draw
from edge_resad.device.doctor import Case, Check, examine
from edge_resad.device.doctor.broker import broker
from edge_resad.device.doctor.camera import camera, silence
from edge_resad.device.doctor.detector import bundle, engines, inspection
from edge_resad.device.doctor.machine import clock, gpu, heat, jetpack_of, jetson, memory, power, processor
from edge_resad.device.doctor.outputs import outputs
from edge_resad.device.doctor.software import gstreamer, onnx_runtime, opencv, python, tensorrt
from edge_resad.device.doctor.surroundings import control, disks
from edge_resad.device.gstreamer import NO_GSTREAMER
from edge_resad.device.settings import SourceKind, StationFile, load_station
from edge_resad.engine.engine_file import engine_folder
from edge_resad.engine.host import Gpu
from edge_resad.engine.tensorrt_api import TensorRT
from edge_resad.errors import CameraError, EngineError
from edge_resad.recipe import Alignment, Recipe, Roi, Shelf
from tests.device.trees import ORIN_NANO, PC, plant
from tests.mqtt_peers import Mosquitto, free_port

os.environ.setdefault("PYLON_CAMEMU", "2")  # before pylon is loaded: two emulated cameras

CHECKOUT = Path(__file__).resolve().parents[2]
NOW = 1_790_000_000.0  # in 2026
WAIT_S = 60.0  # a deadline, not a pause
ORIN = Gpu(name="Orin", sm="SM87", cuda="12.6", driver_cuda="12.6")
BUILT_IN = """
General configuration for OpenCV 4.12.0 =====================================
  Video I/O:
    FFMPEG:                      YES
      avcodec:                   YES (59.37.100)
    v4l/v4l2:                    YES (linux/videodev2.h)
"""


def no_tensorrt() -> TensorRT:
    raise EngineError("TensorRT is not installed for this Python.")


def some_tensorrt() -> TensorRT:
    return TensorRT(module=SimpleNamespace(), name="tensorrt", version="10.3.0")


def case(root: Path, *trees: Mapping[str, str], **replaced: Any) -> Case:
    """A machine with these trees, and nothing of this one's."""
    nothing: dict[str, Any] = {
        "root": plant(root / "machine", *trees),
        "now": lambda: NOW,
        "ask_gpu": lambda: None,
        "ask_tensorrt": no_tensorrt,
        "ask_power_mode": lambda: "",
        "ask_opencv": lambda: BUILT_IN,
        "ask_gstreamer": lambda: "GStreamer 1.20.3",
        "free_bytes": lambda _folder: 50 * 10**9,
        "may": lambda _path, _how: True,
    }
    return Case(**{**nothing, **replaced})


def station(folder: Path, **sections: dict[str, object]) -> StationFile:
    raw: dict[str, Any] = {
        "station": {"device": "press-7"},
        "camera": {"source": "/dev/video0"},
        "inspection": {"bank": str(folder / "bank.npz")},
        "spool": {"path": str(folder / "state" / "spool.db")},
        "log": {"verdicts": str(folder / "state" / "verdicts.jsonl")},
    }
    for section, keys in sections.items():
        raw[section] = {**raw.get(section, {}), **keys}
    return StationFile.model_validate(raw)


def one(check: Check | None) -> tuple[str, str]:
    """State and sentence of a check that must be there."""
    assert check is not None
    return check.state, check.says


# The machine


def test_versions_are_said(tmp_path: Path) -> None:
    state, says = one(python(case(tmp_path)))
    assert state == "ok"
    assert "Python 3." in says
    assert "onnxruntime " in says
    assert "CPU" in one(onnx_runtime(case(tmp_path)))[1]


def test_a_processor_without_vnni_is_a_fact_with_its_consequence(tmp_path: Path) -> None:
    state, says = one(processor(case(tmp_path, PC)))
    assert state == "ok"
    assert says.startswith("Intel(R) Core(TM) i5-8500 CPU")
    assert "INT8 gains little" in says


def test_a_pc_is_no_jetson_and_has_no_power_mode(tmp_path: Path) -> None:
    assert one(jetson(case(tmp_path, PC))) == ("ok", "this is no Jetson")
    assert power(case(tmp_path, PC)) is None


def test_a_jetson_says_module_l4t_and_jetpack(tmp_path: Path) -> None:
    state, says = one(jetson(case(tmp_path, ORIN_NANO)))
    assert state == "ok"
    assert "Orin Nano" in says
    assert "L4T 36.4.3, JetPack 6.2" in says


def test_an_old_jetpack_is_a_warning_and_a_problem_where_the_station_wants_tensorrt(tmp_path: Path) -> None:
    old = {"etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, GCID: 1\n"}
    state, says = one(jetson(case(tmp_path, ORIN_NANO, old)))
    assert state == "warning"
    assert "Flash JetPack 6.1 or newer" in says
    wants = station(tmp_path, engine={"provider": "tensorrt"})
    assert one(jetson(case(tmp_path, ORIN_NANO, old, station=wants)))[0] == "problem"


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("35.6.4", "5.1"),
        ("36.4.0", "6.1"),
        ("36.4.7", "6.2.1"),
        ("36.5.0", "6.2.2"),
        ("39.2.1", "7.2.1"),
        ("99.1", None),
    ],
)
def test_the_jetpack_of_an_l4t(l4t: str, jetpack: str | None) -> None:
    assert jetpack_of(l4t) == jetpack


def test_a_power_mode_is_said_by_name_with_the_others(tmp_path: Path) -> None:
    asked = case(tmp_path, ORIN_NANO, ask_power_mode=lambda: "NV Power Mode: 15W\n0\n")
    assert one(power(asked)) == ("ok", "15W; there are also 25W, MAXN_SUPER")


def test_a_power_mode_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    unread = {"var/lib/nvpmodel/status": ""}
    assert one(power(case(tmp_path, ORIN_NANO, unread)))[0] == "warning"


def test_no_gpu_is_a_fact_on_a_pc_a_warning_on_a_jetson_and_a_problem_where_it_is_asked_for(tmp_path: Path) -> None:
    assert one(gpu(case(tmp_path / "a", PC)))[0] == "ok"
    assert one(gpu(case(tmp_path / "b", ORIN_NANO)))[0] == "warning"
    wants = station(tmp_path, engine={"provider": "cuda"})
    state, says = one(gpu(case(tmp_path / "a", PC, station=wants)))
    assert state == "problem"
    assert "edge-resad[jetson]" in says


def test_a_gpu_is_said_with_its_driver_and_clock(tmp_path: Path) -> None:
    state, says = one(gpu(case(tmp_path, ORIN_NANO, ask_gpu=lambda: ORIN)))
    assert state == "ok"
    assert says.startswith("Orin (SM87), driver for CUDA 12.6")
    assert says.endswith("at 306 of 1020 MHz, 34 % busy")


@pytest.mark.parametrize(("free_kb", "state"), [("5000000", "ok"), ("300000", "warning")])
def test_little_memory_is_a_warning(tmp_path: Path, free_kb: str, state: str) -> None:
    tree = {"proc/meminfo": f"MemTotal: 7802928 kB\nMemAvailable: {free_kb} kB\nSwapTotal: 0 kB\n"}
    assert one(memory(case(tmp_path, tree)))[0] == state


def test_a_machine_that_says_nothing_of_memory_and_heat_is_not_judged(tmp_path: Path) -> None:
    assert memory(case(tmp_path)) is None
    assert heat(case(tmp_path)) is None


@pytest.mark.parametrize(
    ("change", "state", "part"),
    [
        ({}, "ok", "gpu-thermal has 53 °C, slows at 99 °C"),
        ({"thermal_zone0/temp": "96000"}, "warning", "cpu-thermal has 96 °C, slows at 99 °C. Cool it"),
        ({"thermal_zone0/temp": "101000"}, "problem", "switches off at 104 °C"),
        ({"cooling_device1/cur_state": "1"}, "warning", "clocks are lowered now (gpu-throttle-alert)"),
    ],
)
def test_heat_is_judged_by_the_zone_nearest_its_limit(
    tmp_path: Path, change: dict[str, str], state: str, part: str
) -> None:
    changed = {f"sys/class/thermal/{name}": text for name, text in change.items()}
    found = one(heat(case(tmp_path, ORIN_NANO, changed)))
    assert found[0] == state
    assert part in found[1]


def test_an_overloaded_supply_is_a_warning(tmp_path: Path) -> None:
    state, says = one(heat(case(tmp_path, ORIN_NANO, {"sys/class/hwmon/hwmon1/oc3_event_cnt": "12"})))
    assert state == "warning"
    assert "overloaded 12 times" in says


def test_a_clock_from_before_this_release_is_a_problem(tmp_path: Path) -> None:
    state, says = one(clock(case(tmp_path, now=lambda: 86400.0)))
    assert state == "problem"
    assert "1970-01-02" in says
    assert one(clock(case(tmp_path)))[0] == "ok"


def test_a_synchronised_clock_says_so(tmp_path: Path) -> None:
    assert one(clock(case(tmp_path)))[1].endswith("not known to be synchronised")
    assert one(clock(case(tmp_path, {"run/systemd/timesync/synchronized": ""})))[1].endswith(", synchronised")


# Software


def test_an_opencv_is_said_with_what_it_has_and_lacks(tmp_path: Path) -> None:
    state, says = one(opencv(case(tmp_path)))
    assert state == "ok"
    assert says.endswith("with V4L2 and FFMPEG")
    without = BUILT_IN.replace("FFMPEG:                      YES", "FFMPEG: NO")
    assert one(opencv(case(tmp_path, ask_opencv=lambda: without)))[1].endswith("with V4L2, without FFMPEG")


@pytest.mark.parametrize(
    ("source", "lacks", "state"),
    [
        ("/dev/video0", "v4l/v4l2", "problem"),
        ("video:parts.mp4", "FFMPEG", "problem"),
        ("folder:parts", "FFMPEG", "ok"),
        ("/dev/video0", "FFMPEG", "ok"),
    ],
)
def test_an_opencv_that_lacks_what_the_camera_needs_is_a_problem(
    tmp_path: Path, source: str, lacks: str, state: str
) -> None:
    built = "\n".join(line.replace("YES", "NO") if f" {lacks}:" in line else line for line in BUILT_IN.splitlines())
    told = station(tmp_path, camera={"source": source})
    assert one(opencv(case(tmp_path, station=told, ask_opencv=lambda: built)))[0] == state


def test_the_opencv_of_this_package_can_be_read(tmp_path: Path) -> None:
    told = station(tmp_path)
    assert one(opencv(case(tmp_path, station=told, ask_opencv=cv2.getBuildInformation)))[0] == "ok"


def test_no_gstreamer_is_a_problem_where_a_camera_needs_it_and_a_fact_elsewhere(tmp_path: Path) -> None:
    def none() -> str:
        raise CameraError(NO_GSTREAMER)

    assert one(gstreamer(case(tmp_path))) == ("ok", "GStreamer 1.20.3")
    assert one(gstreamer(case(tmp_path, ask_gstreamer=none))) == ("ok", "none; no camera here needs it")
    for source in ("csi:0", "gstreamer:videotestsrc"):
        told = station(tmp_path, camera={"source": source})
        assert one(gstreamer(case(tmp_path, station=told, ask_gstreamer=none))) == ("problem", NO_GSTREAMER)


def test_no_tensorrt_is_a_fact_a_warning_or_a_problem(tmp_path: Path) -> None:
    assert one(tensorrt(case(tmp_path / "a", PC)))[0] == "ok"
    assert one(tensorrt(case(tmp_path / "b", ORIN_NANO)))[0] == "warning"
    wants = station(tmp_path, engine={"provider": "tensorrt"})
    assert one(tensorrt(case(tmp_path / "a", PC, station=wants))) == (
        "problem",
        "TensorRT is not installed for this Python.",
    )
    assert one(tensorrt(case(tmp_path / "b", ask_tensorrt=some_tensorrt))) == ("ok", "tensorrt 10.3.0")


# The detector


def test_the_bundle_of_the_package_is_whole(tmp_path: Path) -> None:
    state, says = one(bundle(case(tmp_path)))
    assert state in ("ok", "warning")
    assert "is whole, with fp32, fp16, int8" in says


def test_a_damaged_bundle_is_a_problem(tmp_path: Path) -> None:
    copy = shutil.copytree(CHECKOUT / "edge_resad/bundles/edge", tmp_path / "bundle")
    (copy / "detector.fp32.onnx").write_bytes(b"x")
    told = station(tmp_path, inspection={"bundle": str(copy)})
    state, says = one(bundle(case(tmp_path, station=told)))
    assert state == "problem"
    assert "detector.fp32.onnx is damaged" in says
    assert engines(case(tmp_path, station=told, ask_tensorrt=some_tensorrt)) is None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for engines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_engines_are_not_looked_for_without_tensorrt(tmp_path: Path, cache: Path) -> None:
    assert engines(case(tmp_path, ORIN_NANO)) is None


def test_no_engines_are_a_warning_on_a_jetson_with_the_command_that_builds_them(tmp_path: Path, cache: Path) -> None:
    state, says = one(engines(case(tmp_path / "b", ORIN_NANO, ask_tensorrt=some_tensorrt)))
    assert state == "warning"
    assert "edge-resad build --bundle" in says
    assert one(engines(case(tmp_path / "a", PC, ask_tensorrt=some_tensorrt)))[0] == "ok"


def test_no_engines_are_a_problem_where_the_station_asks_for_them(tmp_path: Path, cache: Path) -> None:
    wants = station(tmp_path, engine={"provider": "tensorrt", "precision": "fp16"})
    state, says = one(engines(case(tmp_path, ORIN_NANO, station=wants, ask_tensorrt=some_tensorrt)))
    assert state == "problem"
    assert "--precision fp16" in says


def test_engines_are_looked_for_in_the_stations_folder(tmp_path: Path, cache: Path) -> None:
    told: dict[str, object] = {"provider": "tensorrt", "precision": "fp16", "engines": str(tmp_path / "mine")}
    machine = case(tmp_path, ORIN_NANO, station=station(tmp_path, engine=told), ask_tensorrt=some_tensorrt)
    state, says = one(engines(machine))
    assert state == "problem"
    assert f"--out {tmp_path / 'mine'}" in says


def test_engines_that_do_not_fit_are_said(tmp_path: Path, cache: Path) -> None:
    from edge_resad.bundle import open_bundle

    folder = engine_folder(open_bundle())
    folder.mkdir(parents=True)
    (folder / "fp16.json").write_text("{}")
    state, says = one(engines(case(tmp_path, PC, ask_tensorrt=some_tensorrt)))
    assert state == "warning"
    assert "fp16.json has schema None" in says


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank of two drawn parts."""
    folder = tmp_path_factory.mktemp("bank")
    for seed in range(2):
        assert cv2.imwrite(str(folder / f"{seed}.png"), draw("flange", seed, size=256).image)
    done = CliRunner().invoke(app, ["enrol", str(folder), "-o", str(folder / "bank.npz"), "--augment", "off"])
    assert done.exit_code == 0, done.output
    return folder / "bank.npz"


def test_a_station_that_can_inspect_says_how_long_a_part_takes(tmp_path: Path, bank: Path) -> None:
    told = station(tmp_path, inspection={"bank": str(bank)})
    state, says = one(inspection(case(tmp_path, station=told)))
    assert state == "ok"
    assert "ms by cpu" in says


@pytest.mark.parametrize("alignment", [None, Alignment()])
def test_a_station_of_products_is_looked_at_through_the_product_in_use(
    tmp_path: Path, bank: Path, alignment: Alignment | None
) -> None:
    shelf = Shelf(tmp_path / "products")
    roi = Roi(name="whole", bank="whole.npz")
    recipe = Recipe(product="flange", picture_px=(320, 240), alignment=alignment, regions=(roi,))
    reference = cv2.imencode(".png", cv2.resize(draw("flange", 1, size=256).image, (320, 240)))[1].tobytes()
    shelf.add(recipe, {"whole.npz": bank.read_bytes(), **({"reference.png": reference} if alignment else {})})
    shelf.use(shelf.find("flange"))
    told = StationFile.model_validate(
        {
            "station": {"device": "press-7"},
            "camera": {"source": "/dev/video0"},
            "products": {"folder": str(tmp_path / "products")},
        }
    )
    state, says = one(inspection(case(tmp_path, station=told)))
    assert state == "ok"
    assert ("cannot be aligned, as it should" if alignment else "ms by cpu") in says


def test_a_bank_that_does_not_fit_is_a_problem_with_its_way_out(tmp_path: Path, bank: Path) -> None:
    told = station(tmp_path, inspection={"bank": str(bank)}, engine={"precision": "int8"})
    state, says = one(inspection(case(tmp_path, station=told)))
    assert state == "problem"
    assert "edge-resad enrol" in says
    missing = station(tmp_path)
    assert "no bank at" in one(inspection(case(tmp_path, station=missing)))[1]


# Camera and disk


def test_cameras_are_listed_where_no_station_names_one(tmp_path: Path) -> None:
    machine = case(tmp_path, {"dev/video0": "", "sys/class/video4linux/video0/name": "Part Cam\n"})
    state, says = one(camera(machine))
    assert state == "ok"
    assert says.endswith("/dev/video0 (Part Cam)")
    assert one(camera(case(tmp_path / "none"))) == ("ok", "none under /dev/video*")


def test_a_camera_that_this_user_may_not_open_names_the_group(tmp_path: Path) -> None:
    machine = case(tmp_path, {"dev/video0": ""}, may=lambda _path, _how: False)
    state, says = one(camera(machine))
    assert state == "warning"
    assert "sudo usermod -aG video" in says
    told = case(tmp_path, {"dev/video0": ""}, may=lambda _path, _how: False, station=station(tmp_path))
    assert one(camera(told))[0] == "problem"


def test_a_stations_camera_is_looked_for(tmp_path: Path) -> None:
    told = station(tmp_path)
    assert one(camera(case(tmp_path / "a", {"dev/video0": ""}, station=told)))[0] == "ok"
    state, says = one(camera(case(tmp_path / "b", {"dev/video2": ""}, station=told)))
    assert state == "problem"
    assert "no camera at /dev/video0. Seen now: " in says
    assert "/dev/video2" in says


@pytest.mark.parametrize(
    ("source", "state"),
    [("folder:{}", "ok"), ("folder:{}/nowhere", "problem"), ("video:{}/none.mp4", "problem"), ("synthetic", "ok")],
)
def test_a_camera_of_files_is_looked_for(tmp_path: Path, source: str, state: str) -> None:
    assert cv2.imwrite(str(tmp_path / "1.png"), draw("flange", 1, size=128).image)
    told = station(tmp_path, camera={"source": source.format(tmp_path)})
    assert one(camera(case(tmp_path, station=told)))[0] == state


SOURCES: dict[SourceKind, tuple[str, str, str]] = {
    "synthetic": ("synthetic:flange", "ok", "parts are drawn"),
    "folder": ("folder:{}/nowhere", "problem", "nowhere"),
    "video": ("video:{}/none.mp4", "problem", "no video file at"),
    "v4l2": ("/dev/video9", "problem", "no camera at /dev/video9"),
    "csi": ("csi:0", "warning", "csi:0 is not tried"),
    "gstreamer": ("gstreamer:videotestsrc", "warning", "gstreamer:videotestsrc is not tried"),
    "rtsp": ("rtsp://me:secret@10.0.0.9/1", "warning", "rtsp://me:***@10.0.0.9/1 is not tried"),
    "genicam": ("genicam:X", "problem", "no GenTL producer at {}/none.cti"),
    "basler": ("basler:123", "problem", "no Basler camera with the serial number 123. Seen now: 0815-0000"),
}
"""Of every kind of source one that is not there, or not known to be: what the doctor says."""

NEEDS: dict[str, tuple[str, str]] = {
    "rtsp": ("av", "rtsp"), "genicam": ("harvesters.core", "genicam"), "basler": ("pypylon", "basler")
}  # fmt: skip
"""What must be importable for some of them, and the extra that brings it."""


@pytest.mark.parametrize("kind", get_args(SourceKind))
def test_no_kind_of_camera_is_called_well_that_nobody_has_seen(kind: SourceKind, tmp_path: Path) -> None:
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind][0].partition(".")[0])
    source, state, words = SOURCES[kind]
    producer = {"producer": str(tmp_path / "none.cti")} if kind == "genicam" else {}
    told = station(tmp_path, camera={"source": source.format(tmp_path), **producer})
    found = one(camera(case(tmp_path, station=told)))
    assert found[0] == state
    assert words.format(tmp_path) in found[1]


@pytest.mark.parametrize("kind", NEEDS)
def test_what_reads_a_camera_and_is_not_installed_is_named_with_its_extra(
    kind: SourceKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, extra = NEEDS[kind]
    monkeypatch.setitem(sys.modules, module, None)
    told = station(tmp_path, camera={"source": SOURCES[kind][0]})
    state, says = one(camera(case(tmp_path, station=told)))
    assert state == "problem"
    assert f"pip install 'edge-resad[{extra}]'" in says


def test_the_pin_of_a_trigger_needs_gpiod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    told = station(tmp_path, camera={"trigger": {"kind": "gpio", "line": 4}})
    (check,) = outputs(case(tmp_path, station=told))
    assert (check.name, check.state) == ("trigger cam0", "problem")
    assert "pip install 'edge-resad[gpio]'" in check.says


def test_a_genicam_camera_is_listed_by_its_producer_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    genicam = pytest.importorskip("genicam", reason="harvesters is not installed")
    producer = str(Path(genicam.__file__).parent / "viky.cti")

    def looked_at(source: str) -> tuple[str, str]:
        told = station(tmp_path, camera={"source": source, "producer": producer})
        return one(camera(case(tmp_path, station=told)))

    assert looked_at("genicam:1") == ("ok", "the GenICam camera 1 is there")
    assert looked_at("genicam:X")[0] == "problem"
    assert "no GenICam camera with the serial number X. Seen now: 0, 1, 2" in looked_at("genicam:X")[1]
    (tmp_path / "text.cti").write_text("no library")
    producer = str(tmp_path / "text.cti")
    assert "is no GenTL producer for this machine" in looked_at("genicam:1")[1]


def test_a_basler_camera_is_listed(tmp_path: Path) -> None:
    pytest.importorskip("pypylon")
    told = station(tmp_path, camera={"source": "basler:0815-0000"})
    assert one(camera(case(tmp_path, station=told))) == ("ok", "the Basler camera 0815-0000 is there")


def test_a_wired_camera_whose_silence_nobody_notices_is_a_warning(tmp_path: Path) -> None:
    def looked_at(kind: str, source: str = "/dev/video0", **watch: object) -> Check | None:
        told = station(tmp_path, camera={"source": source, "trigger": {"kind": kind}}, watch=watch)
        return silence(case(tmp_path, station=told))

    state, says = one(looked_at("camera"))
    assert state == "warning"
    assert "Set [watch] silent_s" in says
    assert looked_at("camera", silent_s=30.0) is None
    assert looked_at("camera", silent_s=0.0) is None
    assert looked_at("software") is None
    assert looked_at("camera", source="synthetic") is None
    assert silence(case(tmp_path)) is None


@pytest.mark.parametrize(("free_mb", "state"), [(50, "problem"), (700, "warning"), (5000, "ok")])
def test_disks_are_judged_by_what_is_free(tmp_path: Path, free_mb: int, state: str) -> None:
    machine = case(tmp_path, station=station(tmp_path), free_bytes=lambda _folder: free_mb * 10**6)
    spool, _log = disks(machine)
    assert (spool.name, spool.state) == ("spool", state)
    assert f"{free_mb} MB are free in {tmp_path}" in spool.says  # the folder itself does not exist yet


def test_a_folder_that_cannot_be_written_or_is_a_file_is_a_problem(tmp_path: Path) -> None:
    locked = case(tmp_path, station=station(tmp_path), may=lambda _path, how: not how & os.W_OK)
    assert [check.state for check in disks(locked)] == ["problem", "problem"]
    (tmp_path / "state").write_text("a file")
    spool, _log = disks(case(tmp_path, station=station(tmp_path)))
    assert "is a file" in spool.says


def test_without_a_log_of_verdicts_no_place_for_it_is_wanted(tmp_path: Path) -> None:
    told = station(tmp_path, log={"verdicts": False})
    assert [check.name for check in disks(case(tmp_path, station=told))] == ["spool"]


@pytest.mark.parametrize(
    ("free_mb", "state", "says"),
    [(50, "problem", "next to nothing"), (700, "warning", "2000 MB stay free of pictures: none is kept"),
     (2500, "warning", "up to 3000 MB may be wanted"), (5000, "ok", "5000 MB are free")],
)  # fmt: skip
def test_the_disk_of_pictures_is_judged_by_what_must_stay_free(
    tmp_path: Path, free_mb: int, state: str, says: str
) -> None:
    told = station(tmp_path, pictures={"folder": str(tmp_path / "pictures")})
    *_, pictures = disks(case(tmp_path, station=told, free_bytes=lambda _folder: free_mb * 10**6))
    assert (pictures.name, pictures.state) == ("pictures", state)
    assert says in pictures.says


def test_a_control_socket_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    def looked_at(path: str | bool, **replaced: Any) -> tuple[str, str]:
        return one(control(case(tmp_path, station=station(tmp_path, control={"socket": path}), **replaced)))

    (tmp_path / "file").write_text("no socket")
    free = str(tmp_path / "run" / "control.sock")
    assert looked_at(free) == ("ok", f"a station that runs is asked and told at {free}")
    assert looked_at(False)[0] == "ok"
    assert "is no socket" in looked_at(str(tmp_path / "file"))[1]
    assert "too long a name" in looked_at(f"{tmp_path}/{'x' * 100}")[1]
    state, says = looked_at(free, may=lambda _path, _how: False)
    assert state == "problem"
    assert f"can make no socket in {tmp_path}" in says
    assert control(case(tmp_path)) is None


# The broker


@pytest.fixture(autouse=True)
def _brokers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker has the time of a busy machine."""
    monkeypatch.setattr("edge_resad.device.doctor.broker.TIMEOUT_S", WAIT_S)
    monkeypatch.setattr("edge_resad.device.doctor.broker.PATIENCE_S", WAIT_S)


def told_broker(folder: Path, **keys: object) -> StationFile:
    return station(folder, broker={"host": "127.0.0.1", **keys})


def test_a_station_without_a_broker_is_a_warning_and_a_machine_alone_is_not_asked(tmp_path: Path) -> None:
    assert broker(case(tmp_path)) is None
    state, says = one(broker(case(tmp_path, station=station(tmp_path))))
    assert state == "warning"
    assert "no [broker]" in says


def test_a_broker_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    state, says = one(broker(case(tmp_path, station=told_broker(tmp_path, port=free_port()))))
    assert state == "problem"
    assert says.startswith("no broker at 127.0.0.1:")


def test_a_broker_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.device.doctor.broker.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        told = told_broker(tmp_path, port=deaf.getsockname()[1], protocol="5")
        state, says = one(broker(case(tmp_path, station=told)))
    assert state == "problem"
    assert says.startswith("no answer from 127.0.0.1:")


def test_a_name_that_takes_for_ever_to_resolve_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def slow(*_arguments: object) -> None:
        released.wait(60)
        raise OSError("no network")

    monkeypatch.setattr("edge_resad.device.doctor.broker.PATIENCE_S", 0.1)
    monkeypatch.setattr("paho.mqtt.client.Client.connect", slow)
    state, says = one(broker(case(tmp_path, station=told_broker(tmp_path))))
    released.set()
    assert state == "problem"
    assert says.startswith("no answer from 127.0.0.1:1883")


def test_a_broker_that_hangs_up_is_asked_about_tls(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            for _ in range(2):
                rude.accept()[0].close()

        caller = threading.Thread(target=hang_up)
        caller.start()
        state, says = one(broker(case(tmp_path, station=told_broker(tmp_path, port=rude.getsockname()[1]))))
        caller.join()
    assert state == "problem"
    assert "Does this port want TLS" in says


def test_a_password_file_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    told = told_broker(tmp_path, username="press-7", password_file=str(tmp_path / "none"))
    state, says = one(broker(case(tmp_path, station=told)))
    assert state == "problem"
    assert "[broker] password_file" in says


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
def test_a_broker_that_lets_us_in_is_well(tmp_path: Path, protocol: str) -> None:
    with Mosquitto(tmp_path / "broker") as real:
        told = told_broker(tmp_path, port=real.port, protocol=protocol)
        state, says = one(broker(case(tmp_path, station=told)))
    assert state == "ok"
    assert says.endswith("with MQTT 3.1.1" if protocol == "3.1.1" else "with MQTT 5")


@pytest.mark.broker
def test_a_wrong_password_is_a_problem_and_the_right_one_is_not(tmp_path: Path) -> None:
    password = tmp_path / "password"
    with Mosquitto(tmp_path / "broker", users={"press-7": "secret"}) as real:
        told = told_broker(tmp_path, port=real.port, username="press-7", password_file=str(password))
        password.write_text("guessed\n")
        state, says = one(broker(case(tmp_path, station=told)))
        assert state == "problem"
        assert "the user 'press-7'" in says
        password.write_text("secret\n")
        assert one(broker(case(tmp_path, station=told)))[0] == "ok"


# The examination


def test_a_machine_with_nothing_has_no_problem(tmp_path: Path, cache: Path) -> None:
    checks = list(examine(case=case(tmp_path)))
    assert [check for check in checks if check.state == "problem"] == []
    assert len({check.name for check in checks}) == len(checks)


def test_every_sentence_is_one_line(tmp_path: Path, cache: Path) -> None:
    told = case(tmp_path, ORIN_NANO, station=station(tmp_path), ask_tensorrt=some_tensorrt)
    checks = list(examine(case=told))
    assert [check for check in checks if "\n" in check.says or not check.says] == []


def test_a_check_that_fails_itself_is_a_problem_and_the_next_one_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbles(_case: Case) -> Check:
        raise RuntimeError("oh")

    monkeypatch.setattr(examination, "LOOKS", (stumbles, python))
    first, second = examine(case=case(tmp_path))
    assert first == Check(
        name="stumbles", state="problem", says="the check failed itself, with RuntimeError: oh. Report it"
    )
    assert second.name == "python"


def test_a_station_file_that_is_wrong_is_a_problem_and_the_machine_is_still_examined(
    tmp_path: Path, cache: Path
) -> None:
    first, *others = examine(tmp_path / "none.toml", case(tmp_path))
    assert (first.name, first.state) == ("station file", "problem")
    assert len(others) > 8


# The command


@pytest.fixture
def station_file(tmp_path: Path, bank: Path) -> Path:
    file = tmp_path / "station.toml"
    assert cv2.imwrite(str(tmp_path / "1.png"), draw("flange", 9, size=256).image)
    file.write_text(f'[station]\ndevice="press-7"\n[camera]\nsource="folder:."\n[inspection]\nbank="{bank}"\n')
    return file


def test_the_command_says_a_line_for_each_check_and_a_sum(station_file: Path, cache: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", str(station_file)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith(f"ok       station file  {station_file}")
    assert any(line.startswith("ok       inspection    a grey part is judged in") for line in lines)
    assert lines[-1].startswith("0 problems, ")


def test_the_command_ends_with_1_where_there_is_a_problem(station_file: Path, cache: Path) -> None:
    station_file.write_text(station_file.read_text().replace("folder:.", "folder:nowhere"))
    done = CliRunner().invoke(app, ["doctor", str(station_file)])
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("1 problem, ")


def test_the_command_gives_json(station_file: Path, cache: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", str(station_file), "--json"])
    said = json.loads(done.output)
    assert done.exit_code == 0
    assert said["problems"] == 0
    assert {"check": "station file", "state": "ok", "says": f"{station_file} is valid"} in said["checks"]
    assert {check["state"] for check in said["checks"]} <= {"ok", "warning"}


def test_the_doctor_changes_nothing(station_file: Path, cache: Path) -> None:
    before = sorted(station_file.parent.rglob("*"))
    CliRunner().invoke(app, ["doctor", str(station_file)])
    assert sorted(station_file.parent.rglob("*")) == before
    assert load_station(station_file)


def test_a_machine_without_torch_pycuda_and_tensorrt_is_examined(tmp_path: Path) -> None:
    script = """
import sys
for blocked in ("torch", "onnx", "pycuda", "tensorrt", "tensorrt_rtx"):
    sys.modules[blocked] = None
from edge_resad.device.doctor import examine
print([check.state for check in examine() if check.state == "problem"])
"""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr) == ("[]\n", "")
