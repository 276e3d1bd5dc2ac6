"""Features of a product are computed once, kept whole or not at all, within bounds, and never mistaken for others."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import torch

from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.errors import CacheError, ImageError
from edge_resad.image import fit, read_image
from edge_resad.model.detector import Encoder, load_backbone
from edge_resad.model.profile import EDGE, Profile, Tap
from edge_resad.train.features import ClassFeatures, FeatureCache
from tests.evaluation.tree import inspection_class, picture, spot, write

TINY = Profile(
    name="tiny",
    backbone="tiny",
    size=16,
    taps=(Tap(layer="a", stride=4, channels=3, capacity=8), Tap(layer="b", stride=8, channels=5, capacity=8)),
    match="cosine",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
)
CHECKOUT = Path(__file__).resolve().parent.parent.parent


class Tiny(torch.nn.Module):
    """Two levels with fixed weights that counts the images it has seen."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.weights = torch.nn.Parameter(scale * torch.randn(8, 3, generator=random))
        self.images = 0

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.images += len(image)
        features = torch.einsum("oc,bchw->bohw", self.weights, image)
        fine, coarse = features[:, :3], features[:, 3:]
        return torch.nn.functional.avg_pool2d(fine, 4), torch.nn.functional.avg_pool2d(coarse, 8)


def _class(folder: Path, train: int = 3, good: int = 2, defects: int = 2) -> InspectionClass:
    """A class with an image of its own at every place."""
    inspection_class(folder, train=train, good=good, defects=defects)
    for index, file in enumerate(sorted(folder.glob("t*/*/*.png"))):
        picture(file, value=20 + (7 * index + len(folder.name)) % 200)
    (found,) = find_classes(folder)
    return found


def _bytes(features: ClassFeatures) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in (*features.levels, features.masks, features.outlined)]


def _entries(folder: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in folder.glob("*.features")}


def _held(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_what_is_kept_is_what_the_encoder_says_of_each_image(tmp_path: Path) -> None:
    one, backbone = _class(tmp_path / "cookie"), Tiny()
    features = FeatureCache(tmp_path / "cache", TINY, backbone=backbone).of(one)
    encoder = Encoder(TINY, backbone).eval()
    for index, path in enumerate(features.paths):
        image = fit(read_image(path), TINY.size, np.empty((TINY.size, TINY.size, 3), np.uint8))
        with torch.no_grad():
            expected = encoder(torch.from_numpy(image))
        for level, rows in zip(features.levels, expected, strict=True):
            assert level.dtype == np.float16
            np.testing.assert_allclose(level[index], rows.numpy(), rtol=2e-3, atol=1e-5)


def test_the_products_own_backbone_is_encoded_alike_in_a_batch(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie", train=2, good=1, defects=0)
    profile = replace(EDGE, size=64)
    features = FeatureCache(tmp_path / "cache", profile).of(one)
    encoder = Encoder(profile, load_backbone(profile)).eval()
    image = fit(read_image(features.paths[1]), 64, np.empty((64, 64, 3), np.uint8))
    with torch.no_grad():
        expected = encoder(torch.from_numpy(image))
    for level, rows in zip(features.levels, expected, strict=True):
        np.testing.assert_allclose(level[1], rows.numpy(), rtol=2e-3, atol=2e-3)


def test_a_profile_that_crops_sees_the_middle_of_image_and_mask(tmp_path: Path) -> None:
    folder = tmp_path / "cookie"
    picture(folder / "train/good/0.png")
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200  # the middle
    write(folder / "test/scratch/0.png", wide)
    mask = np.zeros((16, 48), np.uint8)
    mask[4:8, 16:20] = 255
    mask[:, :16] = 255  # cut away
    write(folder / "ground_truth/scratch/0_mask.png", mask)
    (one,) = find_classes(folder)
    features = FeatureCache(tmp_path / "cache", replace(TINY, crop=True), backbone=Tiny()).of(one)
    encoder = Encoder(TINY, Tiny()).eval()
    with torch.no_grad():
        expected = encoder(torch.full((16, 16, 3), 200, dtype=torch.uint8))
    for level, rows in zip(features.levels, expected, strict=True):
        np.testing.assert_allclose(level[1], rows.numpy(), rtol=2e-3, atol=1e-3)
    assert np.argwhere(features.masks[1]).tolist() == [[y, x] for y in range(4, 8) for x in range(4)]


def test_what_is_taken_is_a_copy_in_the_order_asked_for(tmp_path: Path) -> None:
    features = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(_class(tmp_path / "cookie"))
    taken = features.take(np.array([4, 1]))
    for level, rows in zip(features.levels, taken, strict=True):
        assert np.array_equal(rows, np.stack([level[4], level[1]]))
        rows[:] = 0
        assert level[4].any()


def test_images_of_training_come_first_and_every_image_has_its_label_and_mask(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie", train=3, good=1, defects=2)
    features = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    assert [level.shape for level in features.levels] == [(6, 16, 3), (6, 4, 5)]
    assert features.paths == (*one.train, *(part.path for part in one.test))
    assert features.paths[features.train] == one.train
    assert features.defects == ("good",) * 4 + ("scratch",) * 2
    assert features.is_defective.tolist() == [False] * 4 + [True] * 2
    assert features.masks.shape == (6, 16, 16)
    assert features.masks.sum((1, 2)).tolist() == [0, 0, 0, 0, 16, 16]  # 2 x 2 of 8 x 8 pixels, at 16 x 16
    assert features.masks[4, 4:8, 4:8].all()


def test_all_masks_of_a_part_count(tmp_path: Path) -> None:
    folder = tmp_path / "pushpins"
    for path in ("train/good/0.png", "test/logical/0.png"):
        picture(folder / path)
    spot(folder / "ground_truth/logical/0/000.png", at=slice(0, 2))
    spot(folder / "ground_truth/logical/0/001.png", at=slice(6, 8))
    features = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(find_classes(folder)[0])
    assert features.masks[1].sum() == 32


def test_a_defect_that_nobody_outlined_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "cookie"
    inspection_class(folder, train=1, good=1, defects=3)
    (folder / "ground_truth/scratch/1_mask.png").unlink()
    spot(folder / "ground_truth/scratch/2_mask.png", at=slice(0, 0))
    features = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(find_classes(folder)[0])
    assert features.outlined.tolist() == [True, True, True, False, False]


def test_a_second_call_reads_the_same_bytes_and_asks_no_backbone(tmp_path: Path) -> None:
    one, backbone = _class(tmp_path / "cookie"), Tiny()
    first = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    again = FeatureCache(tmp_path / "cache", TINY, backbone=backbone).of(one)
    assert backbone.images == 0
    assert _bytes(again) == _bytes(first)
    assert all(isinstance(array, np.memmap) for array in (*again.levels, again.masks))


def test_the_batch_does_not_change_what_is_kept(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie")
    kept = [FeatureCache(tmp_path / str(batch), TINY, backbone=Tiny(), batch=batch).of(one) for batch in (1, 5, 100)]
    for other in kept[1:]:
        for level, expected in zip(other.levels, kept[0].levels, strict=True):
            np.testing.assert_allclose(level, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("changed", ["train/good/1.png", "test/scratch/0.png"])
def test_a_changed_image_is_computed_again(tmp_path: Path, changed: str) -> None:
    one = _class(tmp_path / "cookie")
    before = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    stamp = (tmp_path / "cookie" / changed).stat()
    picture(tmp_path / "cookie" / changed, value=251)
    os.utime(tmp_path / "cookie" / changed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    index = after.paths.index(tmp_path / "cookie" / changed)
    assert not np.array_equal(after.levels[0][index], before.levels[0][index])
    assert np.array_equal(after.levels[0][0], before.levels[0][0])


def test_a_changed_mask_is_read_again(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie")
    cache = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny())
    before = cache.of(one).masks.sum()
    spot(tmp_path / "cookie/ground_truth/scratch/0_mask.png", at=slice(0, 8))
    assert cache.of(one).masks.sum() == before - 16 + 256


def test_an_image_set_that_was_moved_is_not_computed_again(tmp_path: Path) -> None:
    first = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(_class(tmp_path / "cookie"))
    (tmp_path / "attic").mkdir()
    shutil.move(tmp_path / "cookie", tmp_path / "attic/cookie")
    backbone = Tiny()
    moved = FeatureCache(tmp_path / "cache", TINY, backbone=backbone).of(find_classes(tmp_path / "attic")[0])
    assert backbone.images == 0
    assert moved.paths[0] == tmp_path / "attic/cookie/train/good/0.png"
    assert _bytes(moved) == _bytes(first)


@pytest.mark.parametrize(
    ("profile", "backbone"),
    [
        (TINY, Tiny(seed=1)),
        (replace(TINY, size=32), Tiny()),
        (replace(TINY, crop=True), Tiny()),
        (replace(TINY, mean=(100.0, 127.0, 127.0)), Tiny()),
        (replace(TINY, taps=(replace(TINY.taps[0], layer="c"), TINY.taps[1])), Tiny()),
    ],
    ids=["weights", "size", "crop", "normalisation", "taps"],
)
def test_another_network_does_not_read_these_features(tmp_path: Path, profile: Profile, backbone: Tiny) -> None:
    one = _class(tmp_path / "cookie")
    FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    FeatureCache(tmp_path / "cache", profile, backbone=backbone).of(one)
    assert backbone.images == len(one.train) + len(one.test)


def test_how_features_are_matched_does_not_change_them(tmp_path: Path) -> None:
    one, backbone = _class(tmp_path / "cookie"), Tiny()
    FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    FeatureCache(tmp_path / "cache", replace(TINY, match="l2", name="other"), backbone=backbone).of(one)
    assert backbone.images == 0


def test_progress_counts_up_to_all_images_of_the_product(tmp_path: Path) -> None:
    one, seen = _class(tmp_path / "cookie", train=3, good=1, defects=1), []
    cache = FeatureCache(tmp_path / "cache", TINY, backbone=Tiny(), batch=2)
    cache.of(one, progress=lambda name, done, total: seen.append((name, done, total)))
    assert seen == [("cookie", 2, 5), ("cookie", 4, 5), ("cookie", 5, 5)]


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_resad.datasets.find import find_classes
from edge_resad.train.features import FeatureCache
from tests.train.test_features import TINY, Tiny

def die_half_way(name: str, done: int, total: int) -> None:
    if name == "wafer" and done > 2:
        os.kill(os.getpid(), signal.SIGKILL)

cache = FeatureCache(Path(sys.argv[2]), TINY, backbone=Tiny(), batch=1)
for one in find_classes(sys.argv[1]):
    cache.of(one, progress=die_half_way)
"""


def test_after_a_kill_what_was_whole_is_kept_and_what_was_not_is_computed_again(tmp_path: Path) -> None:
    cookie, wafer = _class(tmp_path / "set/cookie"), _class(tmp_path / "set/wafer")
    folder = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "set"), str(folder)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert _entries(folder) == {"cookie"}
    assert list(folder.glob(".*.part")), "nothing was half-written: the kill came too early"
    backbone = Tiny()
    cache = FeatureCache(folder, TINY, backbone=backbone)
    cache.of(cookie)
    assert backbone.images == 0
    assert _bytes(cache.of(wafer)) == _bytes(FeatureCache(tmp_path / "fresh", TINY, backbone=Tiny()).of(wafer))
    assert backbone.images == 7
    assert not list(folder.glob(".*.part"))


@pytest.mark.parametrize("content", [b"torn", b""])
def test_an_image_that_cannot_be_read_is_named_and_nothing_is_kept(tmp_path: Path, content: bytes) -> None:
    one = _class(tmp_path / "cookie")
    (tmp_path / "cookie/test/scratch/1.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"test/scratch/1\.png"):
        FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    assert _held(tmp_path / "cache") == 0


def test_an_image_that_has_gone_is_named(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie")
    one.train[0].unlink()
    with pytest.raises(ImageError, match=r"train/good/0\.png cannot be opened: No such file"):
        FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)


@pytest.mark.parametrize("damage", ["truncated", "missing", "another array"])
def test_a_damaged_entry_is_computed_again(tmp_path: Path, damage: str) -> None:
    one, backbone = _class(tmp_path / "cookie"), Tiny()
    first = _bytes(FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one))
    (file,) = (tmp_path / "cache").glob("*/level_1.npy")
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "missing":
        file.unlink()
    else:
        np.save(file, np.zeros((2, 2), np.float16))
    again = FeatureCache(tmp_path / "cache", TINY, backbone=backbone).of(one)
    assert backbone.images == 7
    assert _bytes(again) == first


def _room_for(one: InspectionClass, times: float, folder: Path) -> int:
    """So many times what the features of one class take."""
    FeatureCache(folder, TINY, backbone=Tiny()).of(one)
    return int(times * _held(folder))


def test_the_longest_unused_product_makes_room(tmp_path: Path) -> None:
    alien, board, cookie = (_class(tmp_path / name) for name in ("alien", "board", "cookie"))
    room, folder = _room_for(alien, 2.1, tmp_path / "measure"), tmp_path / "cache"
    for one in (alien, board, alien, cookie):  # board is the one that was used longest ago
        FeatureCache(folder, TINY, room, backbone=Tiny()).of(one)
        assert _held(folder) <= room
    assert _entries(folder) == {"alien", "cookie"}


def test_what_is_being_read_makes_no_room(tmp_path: Path) -> None:
    alien, board, cookie = (_class(tmp_path / name) for name in ("alien", "board", "cookie"))
    room, folder = _room_for(alien, 2.1, tmp_path / "measure"), tmp_path / "cache"
    cache = FeatureCache(folder, TINY, room, backbone=Tiny())
    cache.of(alien)
    cache.of(board)
    with pytest.raises(CacheError, match=r"cookie.* takes .* GB and what is being read beside it .* may hold"):
        cache.of(cookie)
    assert _entries(folder) == {"alien", "board"}


def test_a_product_that_is_larger_than_the_bound_is_refused_and_nothing_is_dropped(tmp_path: Path) -> None:
    alien, large = _class(tmp_path / "alien"), _class(tmp_path / "large", train=300)
    room, folder = _room_for(alien, 1.1, tmp_path / "measure"), tmp_path / "cache"
    FeatureCache(folder, TINY, room, backbone=Tiny()).of(alien)
    with pytest.raises(CacheError, match=r"large.* takes .*Let it hold more, or use fewer images"):
        FeatureCache(folder, TINY, room, backbone=Tiny()).of(large)
    assert _entries(folder) == {"alien"}


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    alien, board = _class(tmp_path / "alien"), _class(tmp_path / "board")
    room, folder = _room_for(alien, 1.1, tmp_path / "measure"), tmp_path / "cache"
    (folder / "thesis").mkdir(parents=True)
    (folder / "thesis/chapter.txt").write_text("years of work")
    for one in (alien, board):
        FeatureCache(folder, TINY, room, backbone=Tiny()).of(one)
    assert (folder / "thesis/chapter.txt").read_text() == "years of work"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match=r"cannot keep features in .*cache: .*Check space and rights"):
        FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(_class(tmp_path / "cookie"))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie", train=40)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # a file may grow no further, as on a full disk
    try:
        with pytest.raises(CacheError, match="cannot keep features"):
            FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _held(tmp_path / "cache") == 0


def test_a_feature_that_float16_cannot_hold_is_refused_with_its_layer(tmp_path: Path) -> None:
    one = _class(tmp_path / "cookie")
    with pytest.raises(CacheError, match=r"a of tiny gives values that float16 cannot hold"):
        FeatureCache(tmp_path / "cache", TINY, backbone=Tiny(scale=1e6)).of(one)


def test_a_products_odd_name_is_no_path(tmp_path: Path) -> None:
    one = replace(_class(tmp_path / "cookie"), name="../../Größe 7/" + "x" * 300)
    FeatureCache(tmp_path / "cache", TINY, backbone=Tiny()).of(one)
    assert len(list((tmp_path / "cache").glob("*.features"))) == 1
