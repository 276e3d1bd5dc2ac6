"""The benchmark of copies: every way of everything that is copied, and one sentence where there is no GPU."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.copies import main, sizes


@pytest.mark.usefixtures("card")
def test_every_way_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--turns", "3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == sizes()
    for what in ("picture", "map", "bank"):
        ways = found["us"][what]
        assert len(ways) == 7
        assert all(0 < took["min"] <= took["p50"] <= took["p99"] for took in ways.values())


@pytest.mark.usefixtures("card")
def test_the_table_has_a_row_for_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--turns", "1"])
    said = capsys.readouterr().out
    assert f"bank, {sizes()['bank']:,} bytes" in said
    assert "| pinned to the GPU | " in said


def test_without_a_gpu_one_sentence_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(SystemExit, match=r"^this benchmark needs a GPU, and pycuda, which runs engines .* load here"):
        main([])


def test_the_sizes_are_those_of_the_detector() -> None:
    of = sizes()
    assert of["picture"] == 256 * 256 * 3
    assert of["bank"] > of["picture"] > of["map"]
