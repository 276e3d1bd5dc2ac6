from __future__ import annotations

import collections
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_resad.device.pictures import shelf
from edge_resad.device.pictures.album import (
    ABOUT,
    FOLDERS,
    FRAME,
    HEAT,
    Album,
    Entry,
    Kind,
    entries,
    find_picture,
    on_disk,
)
from tests.traced import traced

BLOCK = 4096
PLENTY = 10**12


@pytest.fixture(params=[256, 1], ids=["all held", "one held"], autouse=True)
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pictures are held in memory, and what is held makes no difference."""
    monkeypatch.setattr(shelf, "WINDOW", request.param)


def files(blocks: int, *, heat: int = 0) -> dict[str, bytes]:
    """A picture of so many blocks, one of them what is said of it, and of so many more blocks of heat."""
    told = {ABOUT: b"{}", FRAME: bytes((blocks - 1) * BLOCK)}
    return {**told, HEAT: bytes(heat * BLOCK)} if heat else told


def album(folder: Path, blocks: int, *, floor: int = 0, free: Callable[[Path], int] = lambda _: PLENTY) -> Album:
    opened = Album(folder, max_bytes=blocks * BLOCK, min_free_bytes=floor * BLOCK, free=free)
    opened.read()
    return opened


def numbers(folder: Path, kind: Kind) -> list[int]:
    """The numbers of the pictures of a kind, oldest first."""
    return [int(entry.stem[:10]) for entry in entries(folder) if entry.kind == kind]


def hot(folder: Path) -> list[int]:
    return [int(entry.stem[:10]) for entry in entries(folder) if entry.heat_size]


def taken(folder: Path) -> int:
    """Bytes of everything that lies in an album."""
    return sum(on_disk(file.stat().st_size) for kind in FOLDERS.values() for file in (folder / kind).iterdir())


def test_a_picture_is_three_files_of_one_name(tmp_path: Path) -> None:
    path = album(tmp_path, 10).store("reject", files(2, heat=1), ["s-1", "s-2"])
    assert path == tmp_path / "rejects" / "0000000001-s-1+s-2.jpg"
    assert {file.name.partition(".")[2] for file in path.parent.iterdir()} == {"jpg", "heat.jpg", "json"}


def test_a_picture_is_found_by_the_ids_of_its_verdict_and_of_its_alert_and_by_no_piece_of_them(tmp_path: Path) -> None:
    kept = album(tmp_path, 20)
    first = kept.store("reject", files(2, heat=1), ["abc-1", "abc-2"])
    second = kept.store("pass", files(2), ["abc-11"])
    assert [find_picture(tmp_path, event) for event in ("abc-1", "abc-2", "abc-11")] == [first, first, second]
    assert [find_picture(tmp_path, event) for event in ("abc", "1", "", "abc-111", "../x")] == [None] * 5


def test_the_oldest_passes_go_first(tmp_path: Path) -> None:
    kept = album(tmp_path, 6)
    for _ in range(5):
        kept.store("pass", files(2))
    assert numbers(tmp_path, "pass") == [3, 4, 5]


def test_passes_then_unjudged_parts_then_heat_then_rejects_make_room_for_a_reject(tmp_path: Path) -> None:
    kept = album(tmp_path, 11)
    kept.store("reject", files(2, heat=1))
    kept.store("reject", files(2, heat=1))
    kept.store("not_inspected", files(2))
    kept.store("pass", files(2))
    seen = []
    for _ in range(5):
        assert kept.store("reject", files(2)) is not None
        seen.append((numbers(tmp_path, "pass"), numbers(tmp_path, "not_inspected"), hot(tmp_path)))
    assert seen == [([], [3], [1, 2]), ([], [], [1, 2]), ([], [], [2]), ([], [], []), ([], [], [])]
    assert numbers(tmp_path, "reject") == [5, 6, 7, 8, 9]


def test_a_pass_displaces_nothing_that_matters_more(tmp_path: Path) -> None:
    kept = album(tmp_path, 6)
    kept.store("reject", files(2))
    kept.store("not_inspected", files(2))
    kept.store("pass", files(2))
    assert kept.store("pass", files(3)) is None
    assert [numbers(tmp_path, kind) for kind in ("reject", "not_inspected", "pass")] == [
        [1],
        [2],
        [3],
    ]  # all still there
    assert kept.store("pass", files(2)) is not None


def test_what_is_larger_than_the_budget_costs_nothing_else(tmp_path: Path) -> None:
    kept = album(tmp_path, 6)
    kept.store("reject", files(2))
    assert kept.store("reject", files(7)) is None
    assert numbers(tmp_path, "reject") == [1]


def test_the_order_needs_no_clock_and_goes_on_over_restarts(tmp_path: Path) -> None:
    album(tmp_path, 100).store("pass", files(2))
    (one,) = (tmp_path / "passes").glob("*.jpg")
    os.utime(one, (0, 0))
    again = album(tmp_path, 100)
    again.store("reject", files(2))
    assert (numbers(tmp_path, "pass"), numbers(tmp_path, "reject")) == ([1], [2])


def test_a_smaller_budget_is_met_at_the_start(tmp_path: Path) -> None:
    kept = album(tmp_path, 20)
    for _ in range(4):
        kept.store("reject", files(2, heat=1))
    assert album(tmp_path, 5).size <= 5 * BLOCK
    assert numbers(tmp_path, "reject") == [3, 4]
    assert hot(tmp_path) == []


def test_what_was_never_finished_is_swept_and_what_is_somebody_elses_is_not(tmp_path: Path) -> None:
    kept = album(tmp_path, 20)
    kept.store("reject", files(2, heat=1))
    rejects = tmp_path / "rejects"
    for name in ("0000000007-s-9.json", "0000000007-s-9.heat.jpg", ".0000000007-s-9.jpg.part"):
        (rejects / name).write_bytes(b"half")
    (rejects / "0000000008-s-11.jpg").touch()  # what a power cut may leave
    for name in ("holiday.jpg", "notes.txt", "7.json"):
        (rejects / name).write_bytes(b"mine")
    again = album(tmp_path, 20)
    left = {file.name for file in rejects.iterdir()}
    assert left == {
        "0000000001.jpg", "0000000001.heat.jpg", "0000000001.json", "holiday.jpg", "notes.txt", "7.json"
    }  # fmt: skip
    assert again.size == 3 * BLOCK


def test_too_little_free_space_costs_passes_unjudged_parts_and_heat_but_no_reject(tmp_path: Path) -> None:
    free = 100 * BLOCK
    kept = album(tmp_path, 100, floor=10, free=lambda _: free)
    kept.store("reject", files(2, heat=1))
    kept.store("not_inspected", files(2))
    kept.store("pass", files(2))
    free = 8 * BLOCK
    kept.tidy()
    assert (numbers(tmp_path, "pass"), numbers(tmp_path, "not_inspected")) == ([], [2])
    free = 0
    kept.tidy()
    assert (numbers(tmp_path, "not_inspected"), hot(tmp_path), numbers(tmp_path, "reject")) == ([], [], [1])


def test_below_the_floor_a_reject_goes_only_for_a_newer_one(tmp_path: Path) -> None:
    free = 100 * BLOCK
    kept = album(tmp_path, 100, floor=10, free=lambda _: free)
    assert kept.store("reject", files(2)) is not None
    assert kept.store("reject", files(2)) is not None
    free = 0
    assert kept.store("reject", files(2)) is not None
    assert numbers(tmp_path, "reject") == [2, 3]
    assert kept.store("pass", files(2)) is None


def test_below_the_floor_with_nothing_to_exchange_a_reject_finds_no_room(tmp_path: Path) -> None:
    kept = album(tmp_path, 100, floor=10, free=lambda _: 5 * BLOCK)
    assert kept.store("reject", files(2)) is None
    assert taken(tmp_path) == 0


def test_pictures_that_somebody_took_away_are_no_trouble(tmp_path: Path) -> None:
    kept = album(tmp_path, 6)
    for _ in range(3):
        kept.store("pass", files(2))
    for file in (tmp_path / "passes").iterdir():
        file.unlink()
    assert kept.store("pass", files(2)) is not None
    assert numbers(tmp_path, "pass") == [4]


def test_a_listing_of_no_folder_is_empty(tmp_path: Path) -> None:
    assert entries(tmp_path / "nowhere") == []
    assert find_picture(tmp_path / "nowhere", "s-1") is None


Act = tuple[str, Kind, int, int]
KINDS: list[Kind] = ["reject", "pass", "not_inspected"]
ACTS = st.tuples(
    st.sampled_from(["store", "store", "store", "store", "reopen", "lose", "scarce", "plenty"]),
    st.sampled_from(KINDS),
    st.integers(1, 5),
    st.integers(0, 2),
)
RANK: dict[Kind, int] = {"pass": 0, "not_inspected": 1, "reject": 3}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=40), budget=st.integers(1, 16))
def test_whatever_happens_the_budget_holds_and_the_order_of_what_goes_is_kept(
    tmp_path: Path, acts: list[Act], budget: int
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    free = [PLENTY]
    kept = album(tmp_path, budget, floor=4, free=lambda _: free[0])
    for act, kind, blocks, heat in acts:
        before = entries(tmp_path)
        path = None
        if act == "store":
            path = kept.store(kind, files(blocks + 1, heat=heat if kind == "reject" else 0))
        elif act == "reopen":
            kept = album(tmp_path, budget, floor=4, free=lambda _: free[0])
        elif act == "lose" and before:
            before[0].file(tmp_path).unlink()  # a person tidies up
            before[0].file(tmp_path, ABOUT).unlink()
            before[0].file(tmp_path, HEAT).unlink(missing_ok=True)
            continue
        else:
            free[0] = 0 if act == "scarce" else PLENTY
        after = entries(tmp_path)
        assert taken(tmp_path) <= kept.size <= budget * BLOCK  # what a person took away is still reckoned with
        assert path is None or path.exists()
        _check_order(before, after, path)


def _check_order(before: list[Entry], after: list[Entry], new: Path | None) -> None:
    """What went was the oldest of its kind, and nothing that matters less is left but what came."""
    left = {entry.stem for entry in after}
    for kind in KINDS:
        stems = [entry.stem for entry in before if entry.kind == kind]
        assert [stem in left for stem in stems] == sorted(stem in left for stem in stems)
    gone = [entry for entry in before if entry.stem not in left]
    worth = max((RANK[entry.kind] for entry in gone), default=-1)
    came = new.name.partition(".")[0] if new is not None else ""
    for entry in after:
        if entry.stem != came:
            assert RANK[entry.kind] >= worth
            assert worth < 3 or not entry.heat_size


KILLED = """
import sys
from pathlib import Path
from edge_resad.device.pictures.album import ABOUT, FRAME, HEAT, Album

album = Album(Path(sys.argv[1]), max_bytes=400_000, min_free_bytes=0)
album.read()
number = 0
while True:
    kind = ("reject", "pass", "not_inspected")[number % 3]
    files = {ABOUT: b"{}", FRAME: b"whole" * 4000} | ({HEAT: b"whole" * 1000} if kind == "reject" else {})
    album.store(kind, files, [f"s-{number}"])
    number += 1
    if number % 7 == 0:
        print(number, flush=True)
"""


def test_a_station_that_is_killed_leaves_whole_pictures_and_a_budget_that_holds(tmp_path: Path) -> None:
    for lines in (1, 4, 9):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        ) as station:
            assert station.stdout is not None
            for _ in range(lines):
                assert station.stdout.readline()
            station.kill()
        frames = [file for kind in FOLDERS.values() for file in (tmp_path / kind).glob("[0-9]*.jpg")]
        assert frames
        assert {file.stat().st_size for file in frames} <= {20_000, 5_000}
        kept = Album(tmp_path, max_bytes=400_000, min_free_bytes=0)
        kept.read()
        assert taken(tmp_path) == kept.size <= 400_000
        assert all(entry.is_whole and entry.file(tmp_path, ABOUT).exists() for entry in entries(tmp_path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, timeout=60
    )
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=60)


def test_on_a_disk_that_is_smaller_than_the_budget_the_ring_still_turns(small_disk: Path) -> None:
    folder = small_disk / "pictures"
    kept = Album(folder, max_bytes=10**9, min_free_bytes=500_000)
    kept.read()
    for number in range(40):
        assert kept.store("reject", files(60), [f"s-{number}"]) is not None
    assert numbers(folder, "reject")[-1] == 40
    assert numbers(folder, "reject")[0] > 1


def test_a_disk_that_another_fills_takes_new_rejects_for_old_ones(small_disk: Path) -> None:
    folder = small_disk / "pictures"
    kept = Album(folder, max_bytes=10**9, min_free_bytes=0)
    kept.read()
    for _ in range(4):
        kept.store("reject", files(60))
    with (small_disk / "hog").open("wb", buffering=0) as hog, pytest.raises(OSError, match="No space"):
        collections.deque(hog.write(bytes(BLOCK)) for _ in range(2000))
    assert kept.store("reject", files(60)) is not None
    assert numbers(folder, "reject") == [2, 3, 4, 5]


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such a thing with room: a disk takes long to make so many files."""
    memory = Path("/dev/shm")
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 10**9  # each takes a page or more
    with tempfile.TemporaryDirectory(dir=memory if has_room else tmp_path) as folder:
        yield Path(folder)


def test_a_hundred_thousand_pictures_are_found_again(quick_disk: Path) -> None:
    album(quick_disk, 1)
    passes = quick_disk / "passes"
    for number in range(1, 100_001):
        with open(passes / f"{number:010d}-s-{number}.jpg", "xb", buffering=0) as frame:
            frame.write(b"frame")
    kept = album(quick_disk, 10**9)
    assert kept.size == 100_000 * BLOCK
    assert find_picture(quick_disk, "s-77777") == passes / "0000077777-s-77777.jpg"
    path = kept.store("pass", files(2))
    assert path is not None
    assert path.name == "0000100001.jpg"


def test_memory_does_not_grow_with_the_pictures_that_are_kept(
    quick_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "WINDOW", 16)
    kept = album(quick_disk, 10**6)

    def store() -> None:
        for _ in range(50):
            kept.store("reject", files(2, heat=1), ["one-message", "another-message"])

    store()
    _, left = traced(lambda _: store(), 1)
    assert left < 50 * 64  # the least object of Python takes 16 bytes, a name twice as many
