"""A file written as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_resad.whole_file import write_whole


def test_the_file_is_replaced_as_a_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "later" / "press-7.prom"
    write_whole(file, b"old\n", mode=0o644)
    write_whole(file, b"new\n", mode=0o644)
    assert file.read_text() == "new\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert [found.name for found in file.parent.iterdir()] == ["press-7.prom"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_behind(tmp_path: Path) -> None:
    in_the_way = tmp_path / "press-7.prom"
    in_the_way.mkdir()
    (in_the_way / "kept").touch()
    with pytest.raises(OSError, match=r"press-7\.prom"):
        write_whole(in_the_way, b"new\n")
    assert [found.name for found in tmp_path.iterdir()] == ["press-7.prom"]


def test_a_new_file_has_the_rights_that_this_process_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "bank.npz", b"rows")
    finally:
        os.umask(before)
    assert (tmp_path / "bank.npz").stat().st_mode & 0o777 == 0o640


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bank.npz"
    write_whole(file, b"old")

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["bank.npz"]
