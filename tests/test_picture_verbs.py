"""`edge-resad pictures`: what a station has kept, listed and copied out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_resad.device.pictures.album import ABOUT, FRAME, Album, Kind
from edge_resad.overlay import encoded
from tests.device.test_operator_side import running, station_file
from tests.test_cli import Shell, run

__all__ = ["run"]  # the fixture

STATION = (
    '[station]\ndevice = "press-7"\nproduct = "flange"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "b.npz"\n'
)


@pytest.fixture
def station(tmp_path: Path) -> Path:
    """A station file beside two rejects, a pass and a part without a verdict."""
    album = Album(tmp_path / "pictures", max_bytes=10**9, min_free_bytes=0)
    album.read()
    kinds: list[Kind] = ["reject", "pass", "reject", "not_inspected"]
    for number, kind in enumerate(kinds):
        told = {"time": "1970-01-01T00:00:00.000Z", "frame_id": number, "camera": "cam0"}
        frame = encoded(np.zeros((8, 8, 3), np.uint8))
        album.store(kind, {ABOUT: json.dumps(told).encode(), FRAME: frame}, [f"s-{number}"])
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    return path


def test_the_newest_are_listed_and_counted(run: Shell, station: Path) -> None:
    lines = run("pictures", "list", station, "--last", "3").out.splitlines()
    assert [line.split("  ")[2] for line in lines[:-1]] == ["pass", "reject", "not inspected"]
    assert lines[-1] == f"{station.parent / 'pictures'}: 2 rejects, 1 not inspected, 1 passes; 0.0 MB of 2000 MB"


def test_a_list_for_programs_has_an_object_a_line(run: Shell, station: Path) -> None:
    lines = run("pictures", "list", station, "--rejects", "--json").out.splitlines()
    assert [json.loads(line)["frame_id"] for line in lines] == [0, 2]
    assert Path(json.loads(lines[0])["file"]).is_file()


def test_copies_are_said_by_folder(run: Shell, station: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("pictures", "export", station, out).out == f"{out / 'flange/defect'}: 2\n{out / 'flange/good'}: 1\n"
    assert run("pictures", "export", station, out, "--passes").out == f"{out / 'flange/good'}: 1\n"
    assert run("pictures", "export", station, out, "--last", "1").out == f"{out / 'flange/defect'}: 1\n"
    assert run("pictures", "export", station, out, "--not-inspected").out == f"{out / 'flange/not_inspected'}: 1\n"


def test_labels_move_false_rejects_to_the_good_parts(run: Shell, station: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"camera": "cam0", "frame_id": 0, "time": 0.0, "label": "false_reject"}\n')
    out = tmp_path / "out"
    ended = run("pictures", "export", station, out, "--rejects")
    assert ended.out == f"{out / 'flange/defect'}: 1\n{out / 'flange/good'}: 1\n"


def test_a_message_leads_to_its_picture(run: Shell, station: Path) -> None:
    frame = station.parent / "pictures" / "rejects" / "0000000003-s-2.jpg"
    assert run("pictures", "find", station, "s-2").out == f"{frame}\n"
    ended = run("pictures", "find", station, "s-9")
    assert ended.code == 1
    assert "no picture of s-9" in ended.err


def test_a_running_station_takes_the_next_frames(run: Shell, tmp_path: Path) -> None:
    file = station_file(tmp_path, "[pictures]\nmin_free_mb = 0\n")
    with running(file) as (client, _):
        ended = run("capture", file, "-n", "3", "--label", "good", "--name", "morning")
        assert ended.code == 0, ended.err
        folder = tmp_path / "pictures" / "captures" / "morning"
        assert ended.out == f"3 frames in {folder}\n"
        assert len(list((folder / "good").glob("cam0-*.png"))) == 3
        assert client.ask("capturing")["ended"]
        ended = run("capture", file, "--name", "morning")
        assert ended.code == 1
        assert "there is a morning in" in ended.err
    ended = run("capture", file)
    assert ended.code == 1
    assert "no station answers" in ended.err


def test_a_station_that_keeps_none_says_so(run: Shell, station: Path, tmp_path: Path) -> None:
    for file in (station.parent / "pictures").rglob("*.jpg"):
        file.unlink()
    ended = run("pictures", "export", station, tmp_path / "out")
    assert ended.code == 1
    assert "no pictures of this kind" in ended.err
    station.write_text(STATION + "[pictures]\nfolder = false\n")
    for verb, more in (("list", []), ("export", [tmp_path / "out"]), ("find", ["s-1"])):
        ended = run("pictures", verb, station, *more)
        assert ended.code == 1
        assert "keeps no pictures: [pictures] folder is false. Name a folder there." in ended.err
