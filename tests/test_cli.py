"""The command line: what an operator can put right is one line on stderr and exit code 1, never a traceback."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_resad import __version__
from edge_resad.bank import load_bank, save_bank
from edge_resad.bundle import open_bundle
from edge_resad.cli import HELD_FRAMES, main
from edge_resad.demo.products import draw
from edge_resad.image import read_image
from tests.fakes import FakeCamera, picture

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: Any
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line that an operator sees."""
        assert self.code == 1
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("edge-resad: ")
        return line


class Shell:
    """Runs `edge-resad` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["edge-resad", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return Ended(ended.value.code or 0, said.out, said.err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def _draw(path: Path, seed: int, defect: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw("flange", seed, size=256, defect=defect, severity=3).image)
    return path


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good parts to enrol, parts to inspect and the bank of the first."""
    folder = tmp_path_factory.mktemp("line")
    for seed in range(4):
        _draw(folder / "good" / f"{seed}.png", seed)
    _draw(folder / "parts" / "1-fine.png", 50)
    _draw(folder / "parts" / "2-scratched.png", 51, "scratch")
    command = [sys.executable, "-m", "edge_resad.cli", "enrol", "good", "-o", "flange.bank"]
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_enrol_writes_a_bank_named_after_its_product(run: Shell, line: Path, tmp_path: Path) -> None:
    ended = run("enrol", line / "good", "-o", tmp_path / "flange.bank")
    assert ended.code == 0
    assert "4 good parts" in ended.out
    assert "threshold" in ended.out
    bank = load_bank(tmp_path / "flange.bank")
    assert bank.info.product == "flange"
    assert len(bank.info.references) == 4


def test_a_bank_names_its_references_by_the_digests_of_their_files(run: Shell, line: Path, tmp_path: Path) -> None:
    run("enrol", line / "good", "-o", tmp_path / "flange.bank")
    files = [(line / "good" / f"{number}.png").read_bytes() for number in range(4)]
    references = load_bank(tmp_path / "flange.bank").info.references
    assert references == tuple(hashlib.sha256(content).hexdigest() for content in files)


def test_enrol_takes_no_picture_that_a_camera_kept_from_before_the_part_was_in_view(
    run: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge_resad.device.camera.open_camera", lambda *_, **__: FakeCamera(range(100), live=True))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    assert run("enrol", "/dev/video0", "--shots", "2", "-o", tmp_path / "part.bank").code == 0
    fresh = [picture(HELD_FRAMES), picture(2 * HELD_FRAMES + 1)]
    references = load_bank(tmp_path / "part.bank").info.references
    assert references == tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in fresh)


def test_enrol_warns_on_stderr_and_still_makes_the_bank(run: Shell, line: Path, tmp_path: Path) -> None:
    same = [shutil.copy(line / "good" / "0.png", tmp_path / f"{name}.png") for name in ("a", "b")]
    ended = run("enrol", *same, line / "good" / "1.png", "-o", tmp_path / "part.bank")
    assert ended.code == 0
    assert ended.err.startswith("warning: references ")
    assert (tmp_path / "part.bank").is_file()


def test_inspect_says_a_line_a_part_and_a_sum(run: Shell, line: Path) -> None:
    ended = run("inspect", line / "parts", "--bank", line / "flange.bank")
    fine, scratched, total = ended.out.splitlines()
    assert ended.code == 0
    assert fine.startswith("PASS")
    assert scratched.startswith("FAIL")
    assert "2-scratched.png" in scratched
    assert total == "2 parts, 1 failed"


def test_inspect_json_is_one_object_a_line(run: Shell, line: Path) -> None:
    ended = run("inspect", line / "parts", "--bank", line / "flange.bank", "--json")
    fine, scratched = (json.loads(each) for each in ended.out.splitlines())
    assert ended.code == 0
    assert fine["verdict"] == "pass"
    assert fine["regions"] == []
    assert scratched["verdict"] == "fail"
    assert scratched["image"].endswith("2-scratched.png")
    assert scratched["score"] >= scratched["threshold"] == load_bank(line / "flange.bank").info.threshold.score
    assert len(scratched["regions"][0]["box"]) == 4


def test_inspect_draws_every_part_where_asked_to(run: Shell, line: Path, tmp_path: Path) -> None:
    assert run("inspect", line / "parts", "--bank", line / "flange.bank", "--out", tmp_path / "seen").code == 0
    pictures = sorted((tmp_path / "seen").iterdir())
    assert [picture.name for picture in pictures] == ["1-fine.jpg", "2-scratched.jpg"]
    assert all(read_image(picture).shape[1] == 256 < read_image(picture).shape[0] for picture in pictures)


def test_pictures_of_one_name_do_not_overwrite_each_other(run: Shell, line: Path, tmp_path: Path) -> None:
    image = read_image(line / "parts" / "1-fine.png")
    for name in ("a/1.png", "a/1.bmp", "a/1-2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), image)
    folders = [tmp_path / "a", tmp_path / "b"]
    assert run("inspect", *folders, "--bank", line / "flange.bank", "--out", tmp_path / "seen").code == 0
    assert len(list((tmp_path / "seen").iterdir())) == 4


@pytest.mark.parametrize("given", ["parts", "parts/1-fine.png"])
def test_pictures_are_not_written_among_the_parts(run: Shell, line: Path, given: str) -> None:
    before = sorted((line / "parts").iterdir())
    refusal = run("inspect", line / given, "--bank", line / "flange.bank", "--out", line / "parts" / "").refusal
    assert "is the folder of the parts" in refusal
    assert sorted((line / "parts").iterdir()) == before


def test_a_file_where_the_pictures_should_go_is_one_sentence(run: Shell, line: Path, tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("a file")
    ended = run("inspect", line / "parts", "--bank", line / "flange.bank", "--out", tmp_path / "seen")
    assert ended.code == 1
    (said,) = ended.err.splitlines()
    assert said.startswith("edge-resad: cannot write the picture ")


@pytest.mark.parametrize("camera", ["synthetic", "synthetic:flange", "/dev/video9", "/dev/edge-resad/port-9"])
def test_inspecting_a_camera_is_what_a_station_does(run: Shell, line: Path, camera: str) -> None:
    assert "edge-resad run" in run("inspect", camera, "--bank", line / "flange.bank").refusal


def test_inspect_takes_another_threshold_for_once(run: Shell, line: Path) -> None:
    ended = run("inspect", line / "parts", "--bank", line / "flange.bank", "--json", "--threshold", "1000")
    assert [json.loads(each)["verdict"] for each in ended.out.splitlines()] == ["pass", "pass"]


def test_a_file_that_is_no_picture_is_said_and_the_rest_is_inspected(run: Shell, line: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("a text that is named like a picture")
    shutil.copy(line / "parts" / "1-fine.png", tmp_path / "2.png")
    ended = run("inspect", tmp_path, "--bank", line / "flange.bank", "--json")
    assert ended.code == 1
    assert [json.loads(each)["image"] for each in ended.out.splitlines()] == [str(tmp_path / "2.png")]
    (said,) = ended.err.splitlines()
    assert "1.png cannot be read as an image" in said


def test_a_threshold_is_set_by_hand_and_stays(run: Shell, line: Path, tmp_path: Path) -> None:
    bank = Path(shutil.copy(line / "flange.bank", tmp_path))
    assert run("threshold", bank, "--set", "2.5").code == 0
    found = load_bank(bank).info.threshold
    assert (found.score, found.how) == (2.5, "by hand")
    assert "2.5" in run("threshold", bank).out


def test_a_threshold_is_estimated_from_more_good_parts(run: Shell, line: Path, tmp_path: Path) -> None:
    bank = Path(shutil.copy(line / "flange.bank", tmp_path))
    for seed in range(20, 26):
        _draw(tmp_path / "more" / f"{seed}.png", seed)
    assert run("threshold", bank, tmp_path / "more").code == 0
    found = load_bank(bank).info.threshold
    assert (found.how, found.samples) == ("good parts", 6)


def test_references_do_not_count_as_more_good_parts(run: Shell, line: Path, tmp_path: Path) -> None:
    bank = Path(shutil.copy(line / "flange.bank", tmp_path))
    assert "a reference of the bank" in run("threshold", bank, line / "good").refusal
    assert load_bank(bank).info == load_bank(line / "flange.bank").info
    fresh = _draw(tmp_path / "fresh.png", 20)
    ended = run("threshold", bank, line / "good", fresh)
    assert ended.code == 0
    assert ended.err == "warning: 4 pictures left out: references of this bank\n"
    assert load_bank(bank).info.threshold.samples == 1


def test_references_that_were_enrolled_as_pixels_are_known_in_a_file_too(
    run: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge_resad.device.camera.open_camera", lambda *_, **__: FakeCamera(range(100)))
    assert run("enrol", "/dev/video0", "--shots", "1", "-o", tmp_path / "part.bank").code == 0
    assert cv2.imwrite(str(tmp_path / "0.png"), picture(0))
    assert "a reference of the bank" in run("threshold", tmp_path / "part.bank", tmp_path / "0.png").refusal


def test_a_product_is_named_as_a_station_names_it(run: Shell, line: Path, tmp_path: Path) -> None:
    ended = run("enrol", line / "good", "-o", tmp_path / "x.bank", "--product", "my product!")
    assert ended.code == 2
    assert not (tmp_path / "x.bank").exists()
    assert run("enrol", line / "good", "-o", tmp_path / "my part.bank").code == 0
    assert load_bank(tmp_path / "my part.bank").info.product == "my-part"


def test_the_rows_of_a_bank_are_told_as_a_sum(run: Shell, line: Path, tmp_path: Path) -> None:
    said = run("enrol", line / "good" / "0.png", "-o", tmp_path / "one.bank").out.splitlines()[0]
    rows = [len(level) for level in load_bank(tmp_path / "one.bank").levels]
    shown = " + ".join(map(str, rows))
    assert said == f"{tmp_path / 'one.bank'}: 1 good part, {sum(rows)} reference patches ({shown})"


@pytest.mark.parametrize("output", ["", "."])
def test_a_bank_needs_the_name_of_a_file(run: Shell, line: Path, output: str) -> None:
    assert "is a folder, expected a file for the bank" in run("enrol", line / "good", "-o", output).refusal


def test_a_camera_that_is_not_there_speaks_of_no_station_file(run: Shell, tmp_path: Path) -> None:
    refusal = run("enrol", "/dev/video99", "-o", tmp_path / "x.bank").refusal
    assert "no camera at /dev/video99" in refusal
    assert "station file" not in refusal


def test_an_empty_folder_is_refused(run: Shell, tmp_path: Path) -> None:
    assert "no images in the folder" in run("enrol", tmp_path, "-o", tmp_path / "part.bank").refusal
    assert not (tmp_path / "part.bank").exists()


def test_a_text_named_like_a_picture_is_refused_at_enrolment(run: Shell, tmp_path: Path) -> None:
    (tmp_path / "part.png").write_text("not a picture")
    refusal = run("enrol", tmp_path, "-o", tmp_path / "part.bank").refusal
    assert "part.png cannot be read as an image" in refusal


def test_a_truncated_bundle_is_refused(run: Shell, line: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(open_bundle().path, tmp_path / "bundle"))
    file = bundle / "detector.fp32.onnx"
    file.write_bytes(file.read_bytes()[:1000])
    refusal = run("inspect", line / "parts", "--bank", line / "flange.bank", "--bundle", bundle).refusal
    assert "detector.fp32.onnx is damaged" in refusal


def test_a_folder_that_is_no_bundle_is_refused(run: Shell, line: Path, tmp_path: Path) -> None:
    refusal = run("inspect", line / "parts", "--bank", line / "flange.bank", "--bundle", tmp_path).refusal
    assert "no bundle at" in refusal


def test_a_bank_of_another_bundle_is_refused_with_the_command(run: Shell, line: Path, tmp_path: Path) -> None:
    bank = load_bank(line / "flange.bank")
    foreign = replace(bank, info=bank.info.model_copy(update={"bundle_id": "0" * 64}))
    save_bank(foreign, tmp_path / "foreign.bank")
    refusal = run("inspect", line / "parts", "--bank", tmp_path / "foreign.bank").refusal
    assert "belongs to another bundle" in refusal
    assert "edge-resad enrol" in refusal


def test_a_missing_bank_is_refused_with_the_command(run: Shell, line: Path, tmp_path: Path) -> None:
    assert "edge-resad enrol" in run("inspect", line / "parts", "--bank", tmp_path / "no.bank").refusal


def test_an_unknown_key_in_a_station_file_is_named(run: Shell, tmp_path: Path) -> None:
    station = tmp_path / "station.toml"
    station.write_text(
        '[station]\ndevice = "cell-1"\n[camera]\nsource = "synthetic"\nspeed = 3\n[inspection]\nbank = "flange.bank"\n'
    )
    refusal = run("run", station).refusal
    assert "speed" in refusal
    assert "station.toml" in refusal


def test_a_missing_station_file_is_refused(run: Shell, tmp_path: Path) -> None:
    assert "no station file at" in run("run", tmp_path / "station.toml").refusal


def test_evaluating_a_folder_without_classes_is_refused(run: Shell, tmp_path: Path) -> None:
    assert str(tmp_path) in run("evaluate", tmp_path).refusal


@pytest.mark.parametrize(
    "arguments",
    [
        ["polish"],
        ["enrol"],
        ["inspect", "part.png"],
        ["enrol", "good", "-o", "x.bank", "--false-alarm-rate", "2"],
        ["inspect", "part.png", "--bank", "x.bank", "--threshold", "0"],
        ["threshold", "x.bank", "--set", "0"],
        ["threshold", "x.bank", "--set", "nan"],
        ["threshold", "x.bank", "--false-alarm-rate", "0.2"],
    ],
    ids=[
        "unknown verb",
        "nothing to enrol",
        "no bank",
        "a rate above one",
        "a threshold of 0",
        "0 set by hand",
        "no number set by hand",
        "a rate without parts",
    ],
)
def test_wrong_usage_ends_with_2(run: Shell, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("verb", ["enrol", "threshold", "inspect", "run", "evaluate", "demo"])
def test_every_verb_has_help(run: Shell, verb: str) -> None:
    ended = run(verb, "--help")
    assert ended.code == 0
    assert verb in ended.out


def test_the_version_is_told(run: Shell) -> None:
    assert (run("--version").code, run("--version").out) == (0, f"edge-resad {__version__}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("verb", ["inspect", "threshold"])  # written line by line, and at the end
def test_an_output_that_takes_nothing_is_one_sentence(line: Path, verb: str, buffered: str) -> None:
    arguments = {"inspect": ["parts", "--bank", "flange.bank"], "threshold": ["flange.bank"]}[verb]
    command = [sys.executable, "-m", "edge_resad.cli", verb, *arguments]
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": "", "PYTHONUNBUFFERED": "" if buffered else "1"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=line, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "edge-resad: the output cannot be written: No space left on device. Send it elsewhere.\n"


def test_a_signal_that_comes_while_a_station_is_still_loading_ends_it_in_order(line: Path, tmp_path: Path) -> None:
    station = tmp_path / "station.toml"
    station.write_text(
        f'[station]\ndevice = "cell-1"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "{line / "flange.bank"}"\n'
    )
    script = f"""
import signal, sys
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "edge_resad.device.station":
            signal.raise_signal(signal.SIGTERM)
sys.meta_path.insert(0, Early())
sys.argv = ["edge-resad", "run", {str(station)!r}]
from edge_resad.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "0 parts: 0 passed, 0 failed" in done.stderr


def test_a_camera_that_is_busy_when_the_station_ends_does_not_abort_it(line: Path, tmp_path: Path) -> None:
    station = tmp_path / "station.toml"
    station.write_text(
        f'[station]\ndevice = "cell-1"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "{line / "flange.bank"}"\n'
    )
    script = f"""
import os, signal, sys, time
import cv2
import numpy as np
from edge_resad.demo import products
picture = np.zeros((1000, 1000, 3), np.float32)
def draw(*arguments, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        cv2.GaussianBlur(picture, (0, 0), 9)
products.draw = draw
sys.argv = ["edge-resad", "run", {str(station)!r}]
from edge_resad.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "0 parts: 0 passed, 0 failed" in done.stderr


def test_a_camera_that_hangs_does_not_change_how_a_program_ends(tmp_path: Path) -> None:
    script = f"""
import sys, threading, time
from edge_resad.device.handover import THREAD
threading.Thread(target=lambda: time.sleep(1000), name=THREAD, daemon=True).start()
sys.argv = ["edge-resad", "run", {str(tmp_path / "none.toml")!r}]
from edge_resad.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("edge-resad: "), done.stderr


def test_help_needs_no_heavy_import() -> None:
    script = (
        "import sys; sys.argv = ['edge-resad', '--help']\n"
        "from edge_resad.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'onnxruntime', 'cv2', 'numpy', 'paho') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
