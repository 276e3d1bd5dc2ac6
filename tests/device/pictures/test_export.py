from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_resad.datasets.find import find_classes
from edge_resad.device.labels import Labels
from edge_resad.device.pictures.album import ABOUT, FRAME, HEAT, Album, Kind
from edge_resad.device.pictures.export import export_pictures, false_rejects, kept_pictures, said_of
from edge_resad.device.verdict_log import said_time
from edge_resad.errors import PicturesError
from edge_resad.overlay import encoded

WALL = 1_700_000_000.123


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An album: three rejects, two passes, one part that was not inspected; numbered in this order."""
    album = Album(tmp_path / "pictures", max_bytes=10**9, min_free_bytes=0)
    album.read()
    kinds: list[Kind] = ["reject", "pass", "reject", "not_inspected", "pass", "reject"]
    for number, kind in enumerate(kinds):
        frame = encoded(np.full((8, 8, 3), 10 * number, np.uint8))
        told = {"time": said_time(WALL + number), "frame_id": number, "camera": "cam0"}
        told |= {"product": "cap"} if number == 2 else {}
        told |= {"reason": "black"} if kind == "not_inspected" else {"score": 1.5, "threshold": 1.0}
        files = {ABOUT: json.dumps(told).encode(), FRAME: frame} | ({HEAT: frame} if kind == "reject" else {})
        album.store(kind, files, [f"s-{number}"])
    return tmp_path / "pictures"


def numbers(pictures: Path) -> list[int]:
    return sorted(int(file.name[:10]) for file in pictures.glob("*.jpg"))


def test_pictures_are_listed_with_what_was_said_oldest_first(folder: Path) -> None:
    rejects = kept_pictures(folder, kinds=["reject"], last=2)
    assert [picture.about["frame_id"] for picture in rejects] == [2, 5]
    frame = folder / "rejects" / "0000000006-s-5.jpg"
    assert str(rejects[1]) == f"2023-11-14T22:13:25.123Z  cam0  reject  1.500 / 1.000  {frame}"
    assert len(kept_pictures(folder)) == len(kept_pictures(folder, last=100)) == 6
    assert kept_pictures(folder, last=0) == []


def test_what_there_is_is_said_in_a_line(folder: Path) -> None:
    assert said_of(folder) == f"{folder}: 3 rejects, 1 not inspected, 2 passes; 0.1 MB"
    assert said_of(folder / "nowhere") == f"{folder / 'nowhere'}: 0 rejects, 0 not inspected, 0 passes; 0.0 MB"


def test_copies_lie_as_enrolment_and_evaluation_want_them(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copied = export_pictures(kept_pictures(folder, kinds=["reject", "pass"]), out, product="flange")
    assert copied == {out / "flange" / "good": 2, out / "flange" / "defect": 2, out / "cap" / "defect": 1}
    assert (numbers(out / "flange" / "good"), numbers(out / "flange" / "defect")) == ([2, 5], [1, 6])  # and no heat
    (flange,) = [one for one in find_classes(out) if one.name == "flange"]
    assert {part.defect for part in flange.test} == {"good", "defect"}
    told = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [(one["file"], one["frame_id"]) for one in told][:2] == [
        ("flange/defect/0000000001-s-0.jpg", 0), ("flange/good/0000000002-s-1.jpg", 1)
    ]  # fmt: skip


def test_a_reject_that_somebody_called_false_is_a_good_part(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    said = [(0, "false_reject"), (5, "false_reject"), (5, "true_reject")]
    lines = [
        json.dumps({"camera": "cam0", "frame_id": number, "time": WALL + number, "label": label})
        for number, label in said
    ]
    labels.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    export_pictures(kept_pictures(folder, kinds=["reject"]), out, product="flange", false=false_rejects(labels))
    assert (numbers(out / "flange" / "good"), numbers(out / "flange" / "defect")) == ([1], [6])


def test_half_a_label_with_which_the_power_was_cut_costs_no_other(tmp_path: Path) -> None:
    def said(number: int) -> dict[str, object]:
        return {"camera": "cam0", "frame_id": number, "time": WALL, "label": "false_reject"}

    file = tmp_path / "labels.jsonl"
    labels = Labels(file)
    labels.append(said(1))
    whole = file.read_bytes()
    for half in (whole[:20], b"\0" * 40):
        file.write_bytes(whole + half)
        assert {number for _, number, _ in false_rejects(file)} == {1}
    labels.append(said(2))
    labels.append(said(3))
    assert {number for _, number, _ in false_rejects(file)} == {1, 2, 3}
    file.write_bytes(whole[:20])
    labels.append(said(4))
    assert {number for _, number, _ in false_rejects(file)} == {4}


@pytest.mark.parametrize("line", ["{", "7", '{"camera": "cam0"}', '{"camera": "a", "frame_id": 1, "time": "x"}'])
def test_labels_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "labels.jsonl").write_text(line + "\n")
    with pytest.raises(PicturesError, match="has a line that is no label"):
        false_rejects(tmp_path / "labels.jsonl")
    with pytest.raises(PicturesError, match="cannot be read"):
        false_rejects(tmp_path / "nowhere.jsonl")


def test_what_the_station_deletes_meanwhile_is_left_out(folder: Path, tmp_path: Path) -> None:
    pictures = kept_pictures(folder, kinds=["pass"])
    pictures[0].frame.unlink()
    copied = export_pictures(pictures, tmp_path / "out", product="flange")
    assert copied == {tmp_path / "out" / "flange" / "good": 1}


def test_a_picture_whose_words_are_lost_is_kept_all_the_same(folder: Path, tmp_path: Path) -> None:
    for file in (folder / "rejects").glob(f"*{ABOUT}"):
        file.write_text("[" if file.name.startswith("0000000001") else "[]")
    assert [dict(picture.about) for picture in kept_pictures(folder, kinds=["reject"])] == [{}, {}, {}]
    copied = export_pictures(kept_pictures(folder, kinds=["reject"]), tmp_path / "out", product="flange")
    assert copied == {tmp_path / "out" / "flange" / "defect": 3}


def test_copies_that_cannot_be_written_are_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PicturesError, match="Name a folder with room where this user may write"):
        export_pictures(kept_pictures(folder), tmp_path / "out", product="flange")
