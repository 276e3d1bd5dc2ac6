"""A bank is what was enrolled, whole, and of this bundle; or it is refused with the command that makes it anew."""

from __future__ import annotations

import gc
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_resad.bank import (
    SCHEMA_VERSION,
    Augmentation,
    Bank,
    BankInfo,
    Rows,
    Threshold,
    check_fits,
    coreset,
    filled,
    load_bank,
    save_bank,
)
from edge_resad.errors import BankError

CHANNELS = (4, 6)


def _rows(count: int, channels: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).standard_normal((count, channels)).astype(np.float32)


def _bank(product: str = "flange", schema_version: int = SCHEMA_VERSION) -> Bank:
    threshold = Threshold(
        score=1.5, region=2.5, how="references", samples=4, false_alarm_rate=0.01, promise="Rests on 4 references."
    )
    info = BankInfo(
        schema_version=schema_version,
        product=product,
        bundle_id="b" * 64,
        precision="fp32",
        references=("a" * 64,),
        augmentation=Augmentation(mode="none", reason="as asked for: off"),
        level_norm=((2.0, 1.5), (3.0, 2.5)),
        head="fused",
        fusion=(1.0, 0.1, -2.5, -4.0),
        threshold=threshold,
        made_by="edge-resad",
    )
    levels = tuple(_rows(10 + index, channels) for index, channels in enumerate(CHANNELS))
    return Bank(info=info, levels=levels)


def test_a_bank_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    bank = _bank("Flansch Ø 40")
    save_bank(bank, tmp_path / "new folder" / "part.bank")
    loaded = load_bank(tmp_path / "new folder" / "part.bank")
    assert loaded.info == bank.info
    for found, saved in zip(loaded.levels, bank.levels, strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, saved)


def test_a_bank_of_before_does_not_say_what_good_parts_score(tmp_path: Path) -> None:
    bank = _bank()
    told = json.loads(bank.info.model_dump_json())
    del told["threshold"]["good"]
    arrays: dict[str, Any] = {f"level_{index}": rows for index, rows in enumerate(bank.levels)}
    np.savez(tmp_path / "old.npz", info=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)
    assert load_bank(tmp_path / "old.npz").info.threshold.good is None


def test_saving_leaves_one_file_of_exactly_this_name(tmp_path: Path) -> None:
    save_bank(_bank(), tmp_path / "part.bank")
    save_bank(_bank("cap"), tmp_path / "part.bank")
    assert [file.name for file in tmp_path.iterdir()] == ["part.bank"]
    assert load_bank(tmp_path / "part.bank").info.product == "cap"


def test_a_bank_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "part.bank"
    save_bank(_bank(), path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BankError, match="No space left on device"):
        save_bank(_bank("cap"), path)
    assert load_bank(path).info.product == "flange"
    assert [file.name for file in tmp_path.iterdir()] == ["part.bank"]


def test_a_missing_bank_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(BankError, match=r"no bank at .*edge-resad enrol GOOD_PARTS -o .*part\.bank"):
        load_bank(tmp_path / "part.bank")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # numpy forgets to close a broken file
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_bank_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "part.bank"
    save_bank(_bank(), path)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(BankError, match="damaged"):
        load_bank(path)
    gc.collect()  # that warning belongs here, not to the next test


def test_a_flipped_byte_in_the_rows_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "part.bank"
    save_bank(_bank(), path)
    content = bytearray(path.read_bytes())
    content[content.index(_bank().levels[0].tobytes()) + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BankError, match="damaged"):
        load_bank(path)


def _npz(**arrays: Rows) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", member.getvalue())
    return content.getvalue()


def _npy() -> bytes:
    content = io.BytesIO()
    np.save(content, np.zeros((3, 3)))
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"not a bank, a text",
        lambda: b"\x89PNG\r\n\x1a\n",
        lambda: _npz(weights=_rows(2, 2)),
        _npy,
    ],
    ids=["text", "picture", "another archive", "a bare array"],
)
def test_what_is_not_a_bank_is_refused(tmp_path: Path, content: Callable[[], bytes]) -> None:
    path = tmp_path / "part.bank"
    path.write_bytes(content())
    with pytest.raises(BankError, match="not a bank or is damaged"):
        load_bank(path)


def test_a_folder_is_not_a_bank(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="not a bank"):
        load_bank(tmp_path)


def test_a_bank_of_another_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    save_bank(_bank(schema_version=7), tmp_path / "part.bank")
    with pytest.raises(BankError, match=r"schema 7, this release reads schema 2"):
        load_bank(tmp_path / "part.bank")


def test_a_bank_from_before_heads_could_be_chosen_is_refused_by_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "part.bank"
    note = np.frombuffer(json.dumps({"schema_version": 1, "product": "flange"}).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, info=note, level_0=_rows(2, 2))
    with pytest.raises(BankError, match=r"schema 1, this release reads schema 2.* edge-resad enrol"):
        load_bank(path)


def _with_level(rows: Rows) -> Bank:
    bank = _bank()
    return replace(bank, levels=(bank.levels[0], rows))


def _with_info(**changes: object) -> Bank:
    return replace(_bank(), info=_bank().info.model_copy(update=changes))


@pytest.mark.parametrize(
    ("bank", "says"),
    [
        (_with_level(np.full((4, CHANNELS[1]), np.nan, np.float32)), "level 1 holds values that are no numbers"),
        (_with_level(np.empty((0, CHANNELS[1]), np.float32)), "level 1 holds no references"),
        (_with_level(np.ones(4, np.float32)), "level 1 holds no references"),
        (replace(_bank(), levels=_bank().levels[:1]), "1 levels and constants of 2"),
        (_with_info(level_norm=((1.0, 0.0), (1.0, 1.0))), "constants must be above 0"),
        (_with_info(fusion=(0.0, 0.1, 0.0, 0.0)), "is not that of head fused"),
        (_with_info(fusion=(1.0, 0.0, 0.0, 0.0)), "is not that of head fused"),
        (_with_info(threshold=_bank().info.threshold.model_copy(update={"score": 0.0})), "threshold must be above 0"),
    ],
    ids=[
        "no numbers",
        "no rows",
        "no table",
        "a level less",
        "a constant of 0",
        "a fusion without the distance",
        "a fusion without the network",
        "a threshold of 0",
    ],
)
def test_a_bank_that_nothing_can_be_judged_with_is_refused(tmp_path: Path, bank: Bank, says: str) -> None:
    save_bank(bank, tmp_path / "part.bank")
    with pytest.raises(BankError, match=f"{says}.* edge-resad enrol"):
        load_bank(tmp_path / "part.bank")


@pytest.mark.parametrize("name", ["part.bank", "deeper/part.bank"])
def test_a_bank_below_a_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BankError, match="cannot write the bank"):
        save_bank(_bank(), tmp_path / "file" / name)


def test_a_bank_that_does_not_describe_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.bank"
    note = np.frombuffer(json.dumps({"schema_version": SCHEMA_VERSION}).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, info=note, level_0=_rows(2, 2))
    with pytest.raises(BankError, match="does not describe itself"):
        load_bank(path)


def test_a_bank_of_this_bundle_fits() -> None:
    check_fits(_bank(), "b" * 64, "fp32", CHANNELS)


def test_a_bank_of_another_bundle_is_refused_with_the_command() -> None:
    with pytest.raises(BankError, match=r"'flange' belongs to another bundle.*edge-resad enrol"):
        check_fits(_bank(), "c" * 64, "fp32", CHANNELS)


def test_a_bank_of_other_channels_is_refused() -> None:
    with pytest.raises(BankError, match="another bundle"):
        check_fits(_bank(), "b" * 64, "fp32", (4, 7))


def test_a_bank_of_another_precision_is_refused_with_the_command() -> None:
    with pytest.raises(BankError, match=r"made in fp32, the engine runs int8.*edge-resad enrol"):
        check_fits(_bank(), "b" * 64, "int8", CHANNELS)


def test_the_command_names_the_bank_and_the_bundle(tmp_path: Path) -> None:
    save_bank(_bank(), tmp_path / "flange.npz")
    read = load_bank(tmp_path / "flange.npz")
    command = f"enrol GOOD_PARTS -o {tmp_path}/flange.npz --precision int8 --bundle own$"
    with pytest.raises(BankError, match=command):
        check_fits(read, "c" * 64, "int8", CHANNELS, bundle=Path("own"))


def test_filling_repeats_rows_and_never_adds_zeros() -> None:
    rows = _rows(3, 2)
    assert np.array_equal(filled(rows, 7), rows[[0, 1, 2, 0, 1, 2, 0]])
    assert np.array_equal(filled(rows, 3), rows)


def test_more_rows_than_fit_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="5 rows do not fit a bank of 4"):
        filled(_rows(5, 2), 4)


def test_a_coreset_keeps_everything_that_fits() -> None:
    assert coreset(_rows(5, 3), 5).tolist() == [0, 1, 2, 3, 4]


def test_a_coreset_has_a_member_in_every_cluster() -> None:
    random = np.random.default_rng(0)
    sizes = [500, 500, 3, 1]
    centres = np.eye(len(sizes), dtype=np.float32)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.asarray(centres[cluster] + 0.01 * random.standard_normal((len(cluster), 4)), np.float32)
    for seed in range(5):
        assert set(cluster[coreset(rows, 4, seed)]) == {0, 1, 2, 3}


def test_a_coreset_lies_closer_to_all_rows_than_a_random_choice() -> None:
    rows = _rows(600, 8)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def farthest(chosen: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> float:
        return float(1 - (unit @ unit[chosen].T).max(1).min())

    random = [farthest(np.random.default_rng(seed).choice(600, 60, replace=False)) for seed in range(5)]
    assert farthest(coreset(rows, 60)) < min(random)


def test_a_coreset_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    rows = _rows(200, 8)
    assert np.array_equal(coreset(rows, 20, seed=3), coreset(rows, 20, seed=3))
    assert not np.array_equal(coreset(rows, 20, seed=3), coreset(rows, 20, seed=4))


def test_a_coreset_chooses_no_row_twice() -> None:
    assert len(set(coreset(_rows(300, 8), 100).tolist())) == 100


def test_a_coreset_survives_rows_that_are_all_alike_or_zero() -> None:
    assert len(coreset(np.ones((50, 4), np.float32), 10)) == 10
    assert len(coreset(np.zeros((50, 4), np.float32), 10)) == 10


def test_a_file_that_is_no_bank_is_never_replaced_by_one(tmp_path: Path) -> None:
    picture = tmp_path / "part-1.png"
    picture.write_bytes(b"somebody's picture")
    with pytest.raises(BankError, match=r"part-1\.png is there and is no bank: it stays as it is\. Name another file"):
        save_bank(_bank(), picture)
    assert picture.read_bytes() == b"somebody's picture"
    assert list(tmp_path.iterdir()) == [picture]


def test_a_bank_replaces_a_bank(tmp_path: Path) -> None:
    save_bank(_bank(), tmp_path / "flange.npz")
    save_bank(_bank(), tmp_path / "flange.npz")
    assert load_bank(tmp_path / "flange.npz").info == _bank().info
