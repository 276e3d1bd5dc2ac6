"""What puts a station on a device: the installer, the service, the names of cameras and the example station files."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from edge_resad import __version__
from edge_resad.device.settings import SourceKind, StationFile, load_station, split_source

CHECKOUT = Path(__file__).resolve().parent.parent
JETSON = CHECKOUT / "deploy" / "jetson"
INSTALL = JETSON / "install.sh"
UNIT = JETSON / "edge-resad@.service"
PAGE_UNIT = JETSON / "edge-resad-live@.service"
RULES = JETSON / "99-edge-resad-cameras.rules"
USB_RULES = JETSON / "99-edge-resad-usb-cameras.rules"
EXAMPLES = sorted((JETSON / "stations").glob("*.toml"))
PROGRAM = "/opt/edge-resad/venv/bin/edge-resad"


def install(*options: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    words = ["sh", str(INSTALL), "--python", sys.executable, *map(str, options)]
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(words, capture_output=True, text=True, timeout=100, cwd="/", env=environment)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder but the virtual environment's: mode and content."""
    files = [file for file in folder.rglob("*") if file.is_file() and "venv" not in file.parts]
    return {str(file.relative_to(folder)): (file.stat().st_mode & 0o777, file.read_bytes()) for file in files}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    skipped = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "out", "demo-out", "dist", "tests"
    )
    shutil.copytree(CHECKOUT, source, ignore=skipped)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert built.returncode == 0, built.stderr
    return next((folder / "dist").glob("*.whl"))


# The installer


def test_a_dry_run_prints_every_step_and_changes_nothing(tmp_path: Path) -> None:
    done = install("--dry-run", "--prefix", tmp_path / "root", "--station", "press-8")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "root").exists()
    steps = [line for line in done.stdout.splitlines() if line.startswith("would: ")]
    for what in ("folder ", "virtual environment", "package ", "command ", "edge-resad@.service", "cameras.rules"):
        assert any(what in step for step in steps), what
    assert any("press-8.toml" in step for step in steps)
    assert "systemctl enable --now edge-resad@press-8" in done.stdout


def test_a_dry_run_of_the_system_names_user_services_and_devices_without_root() -> None:
    if (
        subprocess.run(["id", "edge-resad"], capture_output=True).returncode == 0
        or Path("/opt/edge-resad/venv/bin/python").exists()
    ):
        pytest.skip("edge-resad is installed on this machine")
    done = install("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would: user edge-resad\n" in done.stdout
    assert not Path("/etc/edge-resad").exists()
    if Path("/run/systemd/system").is_dir():
        assert "systemctl daemon-reload" in done.stdout


@pytest.mark.parametrize(("camera", "wants"), [("csi", True), ("gstreamer", True), ("v4l2", False)])
def test_cameras_of_gstreamer_bring_its_bindings(tmp_path: Path, camera: str, wants: bool) -> None:
    """camera: the example. The Python here knows no package of the system's."""
    lonely = tmp_path / "python3"
    lonely.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S "$@"\n')
    lonely.chmod(0o755)
    done = install("--dry-run", "--station", "press-8", "--camera", camera, "--python", lonely)
    assert done.returncode == 0, done.stderr
    wants |= Path("/etc/nv_tegra_release").exists()  # a Jetson has a CSI connector
    assert ("python3-gi" in done.stdout) == wants
    assert ("gir1.2-gst-plugins-base-1.0" in done.stdout) == wants


@pytest.mark.parametrize(
    ("options", "extras"),
    [
        (["--camera", "rtsp", "--extra", "none"], "[rtsp]"),
        (["--camera", "genicam", "--extra", "none"], "[genicam]"),
        (["--camera", "basler", "--extra", "none"], "[basler]"),
        (["--camera", "basler", "--extra", "gpio,live"], "[gpio,live,basler]"),
        (["--camera", "rtsp", "--extra", "rtsp,live"], "[rtsp,live]"),
        (["--camera", "v4l2", "--extra", "none"], ""),
        (["--camera", "csi", "--extra", "none"], ""),
    ],
)
def test_a_camera_brings_its_extra(tmp_path: Path, options: list[str], extras: str) -> None:
    done = install("--dry-run", "--prefix", tmp_path / "root", *options)
    assert done.returncode == 0, done.stderr
    assert f"would: package {CHECKOUT}{extras}\n" in done.stdout
    project = (CHECKOUT / "pyproject.toml").read_text()
    for extra in filter(None, extras.strip("[]").split(",")):
        assert f"\n{extra} = [" in project


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_what_comes_next_enrols_from_the_camera_of_the_example(tmp_path: Path, example: Path) -> None:
    done = install("--dry-run", "--prefix", tmp_path / "root", "--camera", example.stem, "--extra", "none")
    (line,) = (line for line in done.stdout.splitlines() if " edge-resad enrol " in line)
    enrol = shlex.split(line)
    source = enrol[enrol.index("enrol") + 1]
    told = load_station(example).camera.source
    assert source == (told.split(":", 1)[1] if example.stem in ("folder", "video") else told)
    assert ("GENICAM_GENTL64_PATH=" in line) == (example.stem == "genicam")


def test_what_is_installed_is_removed() -> None:
    removal = (JETSON / "README.md").read_text().split("## Remove")[1].split("\n## ")[0]
    put = re.findall(r'^put "\$here/[^"]*" "\$(units|rules)/([^"]*)"', INSTALL.read_text(), re.MULTILINE)
    folders = {"units": "/etc/systemd/system", "rules": "/etc/udev/rules.d"}
    assert len(put) == 4
    for folder, name in put:
        assert f"{folders[folder]}/{name}" in removal.split()


def test_an_installation_under_a_prefix_is_whole_and_can_be_repeated(tmp_path: Path, wheel: Path) -> None:
    options = ("--prefix", tmp_path, "--from", wheel, "--pip", "--no-index --no-deps", "--station", "press-8")
    first = install(*options)
    assert first.returncode == 0, first.stderr
    python = tmp_path / "opt/edge-resad/venv/bin/python"
    script = "import edge_resad; print(edge_resad.__version__, edge_resad.__file__)"
    asked = subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert asked.stdout.startswith(f"{__version__} {tmp_path}")
    assert "include-system-site-packages = true" in (python.parent.parent / "pyvenv.cfg").read_text()
    assert (tmp_path / "usr/local/bin/edge-resad").resolve() == (tmp_path / PROGRAM.lstrip("/")).resolve(strict=True)
    installed_unit = tmp_path / "etc/systemd/system/edge-resad@.service"
    assert installed_unit.read_bytes() == UNIT.read_bytes()
    assert installed_unit.with_name(PAGE_UNIT.name).read_bytes() == PAGE_UNIT.read_bytes()
    for rules in (RULES, USB_RULES):
        assert (tmp_path / "etc/udev/rules.d" / rules.name).read_bytes() == rules.read_bytes()
    assert (tmp_path / "var/lib/edge-resad/press-8").is_dir()
    station_file = tmp_path / "etc/edge-resad/press-8.toml"
    station = load_station(station_file)
    assert station.station.device == "press-8"
    assert station.spool.path == Path("/var/lib/edge-resad/press-8/spool.db")

    before = snapshot(tmp_path)
    second = install(*options)
    assert second.returncode == 0, second.stderr
    assert snapshot(tmp_path) == before
    steps = second.stdout.split("\n\n")[0].splitlines()
    assert [line for line in steps if "already so" not in line and not line.startswith("package ")] == []

    station_file.write_text("# mine\n")
    installed_unit.write_text("# of an older release\n")
    assert install(*options).returncode == 0
    assert station_file.read_text() == "# mine\n"
    assert installed_unit.read_bytes() == UNIT.read_bytes()
    assert installed_unit.with_name(PAGE_UNIT.name).read_bytes() == PAGE_UNIT.read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--frobnicate"], "--frobnicate is not known"),
        (["--from"], "--from needs a value"),
        (["--dry-run", "--from", "nowhere"], "nowhere is neither a wheel nor a checkout"),
        (["--dry-run", "--from", "none.whl"], "there is no wheel none.whl"),
        (["--dry-run", "--station", "press 7"], "letters, digits, - and _ only, not 'press 7'"),
        (["--dry-run", "--station", "x" * 65], "at most 64 letters"),
        (["--dry-run", "--camera", "film"], "there is no example for --camera film"),
        (["--dry-run", "--python", "/bin/false"], "/bin/false is not Python 3.10 or newer"),
    ],
)
def test_what_cannot_be_installed_is_one_sentence(options: list[str], says: str) -> None:
    done = install(*options)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("install.sh: ")
    assert says in line


@pytest.mark.parametrize("extra", ["jetson", "gpio,jetson"])
def test_pycuda_without_its_compiler_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    for tool in ("dirname", "id"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    (tmp_path / "sh").symlink_to("/bin/sh")
    done = install("--dry-run", "--extra", extra, path=str(tmp_path))
    assert done.returncode == 1
    assert "nvidia-jetpack, or --extra none" in done.stderr


def test_the_help_names_every_option_and_every_option_is_known() -> None:
    said = install("--help").stdout
    options = set(re.findall(r"^  (--[a-z-]+)", said, re.MULTILINE))
    known = set(re.findall(r"^ +(?:--[a-z-]+ ?\|? ?)+.*\)", INSTALL.read_text(), re.MULTILINE))
    assert options == {option for line in known for option in re.findall(r"--[a-z-]+", line)}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck on PATH: apt-get install shellcheck")
@pytest.mark.parametrize("script", [INSTALL, CHECKOUT / ".ci" / "run"], ids=lambda script: script.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert done.returncode == 0


# The service


def unit() -> configparser.RawConfigParser:
    """The unit; of a key that stands there several times, the last."""
    read = configparser.RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read_string(UNIT.read_text())
    return read


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt-get install systemd")
@pytest.mark.parametrize("file", [UNIT, PAGE_UNIT], ids=lambda file: file.name)
def test_systemd_takes_the_unit(tmp_path: Path, file: Path) -> None:
    copy = tmp_path / file.name
    copy.write_text(file.read_text().replace(PROGRAM, "/bin/true"))  # it looks whether the program is there
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    newer = re.compile(
        r"Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)' in section '?\[?Service\]?'?, ignoring"
    )
    said = [line for line in done.stderr.splitlines() if str(copy) in line and not newer.search(line)]
    assert said == []
    assert done.returncode == 0, done.stderr


def test_the_unit_runs_what_the_installer_installs() -> None:
    service = unit()["Service"]
    assert service["ExecStart"] == f"{PROGRAM} run /etc/edge-resad/%i.toml"
    assert service["ExecStopPost"] == f"-{PROGRAM} output safe /etc/edge-resad/%i.toml"
    assert service["User"] == "edge-resad"
    assert "edge-resad/%i" in service["StateDirectory"].split()
    for path in ("/opt/edge-resad/venv", "/etc/edge-resad", "/var/lib/edge-resad"):
        assert f"$prefix{path}" in INSTALL.read_text()


def test_a_start_asks_the_doctor_only_after_an_installation_or_a_change_of_the_station_file(tmp_path: Path) -> None:
    program, station, said = tmp_path / "edge-resad", tmp_path / "press-7.toml", tmp_path / "doctor.txt"
    program.write_text('#!/bin/sh\necho "asked: $*"\nexit 1\n')  # there is a problem, as without a broker
    program.chmod(0o755)
    station.touch()
    before = unit()["Service"]["ExecStartPre"].replace("\\\n", " ")
    assert before.startswith("-")  # whatever it says, the station starts
    words = [word.replace("$$", "$") for word in shlex.split(before[1:])]
    places = {PROGRAM: str(program), "/etc/edge-resad/%i.toml": str(station)}
    words = [places.get(word, word) for word in words]

    def start(at: float) -> str:
        """What a start prints. at: seconds since 1970, by the doctor's file, if it was asked."""
        asked = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout
        if asked:
            assert said.read_text() == asked
            os.utime(said, (at, at))
        return asked

    for file in (program, station):
        os.utime(file, (1000.0, 1000.0))
    assert start(2000.0) == f"asked: doctor {station}\n"
    assert start(2001.0) == ""
    os.utime(station, (3000.0, 3000.0))
    assert start(4000.0) != ""
    assert start(4001.0) == ""
    os.utime(program, (5000.0, 5000.0))  # an update writes it anew
    assert start(6000.0) != ""
    assert start(6001.0) == ""


def test_the_pages_unit_serves_the_station_of_its_name_and_comes_after_the_line() -> None:
    read = configparser.RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read_string(PAGE_UNIT.read_text())
    service = read["Service"]
    assert service["ExecStart"] == f"{PROGRAM} live /etc/edge-resad/%i.toml $LIVE_OPTIONS"
    assert service["User"] == unit()["Service"]["User"]  # whose the socket is
    assert int(service["OOMScoreAdjust"]) > int(unit()["Service"]["OOMScoreAdjust"])
    assert "edge-resad@%i.service" in read["Unit"]["After"]


def test_the_unit_tells_onnx_runtime_to_send_nothing() -> None:
    assert "Environment=ORT_DISABLE_TELEMETRY=1" in UNIT.read_text().splitlines()


def test_the_unit_is_watched_and_comes_back_for_ever() -> None:
    service = unit()["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"
    opencv_gives_up_after_s = 10
    assert int(service["WatchdogSec"]) > 2 * opencv_gives_up_after_s


@pytest.mark.parametrize(
    "closed", ["PrivateDevices", "PrivateTmp", "ProtectClock", "MemoryDenyWriteExecute", "DeviceAllow"]
)
def test_the_unit_lets_cameras_and_gpu_through(closed: str) -> None:
    assert closed not in unit()["Service"]


# Names of cameras


@pytest.mark.parametrize("rules", [RULES, USB_RULES], ids=lambda rules: rules.name)
def test_the_rules_are_in_udevs_form_and_every_jump_lands(rules: Path) -> None:
    text = rules.read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assignment = r'[A-Z]+(?:\{[A-Za-z_]+\})?(?:==|!=|\+=|=)"[^"]*"'
    assert [line for line in lines if not re.fullmatch(rf"{assignment}(?:, {assignment})*", line)] == []
    assert set(re.findall('GOTO="([^"]*)"', text)) == set(re.findall('LABEL="([^"]*)"', text))


def test_the_names_of_cameras_are_cameras_of_a_station_file() -> None:
    links = re.findall(r'SYMLINK\+="([^"]*)\$env', RULES.read_text())
    assert links == ["edge-resad/serial-", "edge-resad/port-"]
    for link in links:
        assert split_source(f"/dev/{link}x")[0] == "v4l2"


def test_cameras_on_the_bus_are_open_to_a_group_that_the_installer_puts_the_user_into() -> None:
    rules = [line for line in USB_RULES.read_text().splitlines() if "GROUP=" in line]
    assert [line.split(",")[0] for line in rules] == ['ENV{ID_USB_INTERFACES}=="*:ef0500:*"', 'ATTR{idVendor}=="2676"']
    groups = {group for line in rules for group in re.findall(r'GROUP="(\w+)"', line)}
    (joined,) = re.findall(r"for group in ([\w ]+);", INSTALL.read_text())
    assert groups <= set(joined.split())
    assert all('MODE="0664"' in line for line in rules)


# Example station files


def test_there_is_an_example_for_every_kind_of_camera_but_the_drawn_one() -> None:
    kinds = {split_source(load_station(example).camera.source)[0] for example in EXAMPLES}
    assert kinds == set(get_args(SourceKind)) - {"synthetic"}
    assert {example.stem for example in EXAMPLES} == kinds


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_writes_where_the_service_may(example: Path) -> None:
    station = load_station(example)
    state = Path("/var/lib/edge-resad") / station.station.device
    assert station.spool.path.parent == state
    assert station.log.verdicts == state / "verdicts.jsonl"
    assert station.pictures.folder == state / "pictures"
    assert station.inspection.bank is not None
    assert station.inspection.bank.parent == state


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_what_an_example_leaves_out_as_a_comment_can_be_put_in(example: Path, tmp_path: Path) -> None:
    whole = re.sub(r"^# (?=\[|\w+ = )", "", example.read_text(), flags=re.MULTILINE)
    file = tmp_path / "whole.toml"
    file.write_text(whole)
    told = load_station(file)
    assert isinstance(told, StationFile)
    assert told.broker is not None


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_a_station_that_ends_by_itself_is_no_service(example: Path) -> None:
    station = load_station(example)
    assert split_source(station.camera.source)[0] not in ("folder", "video") or station.camera.loop
