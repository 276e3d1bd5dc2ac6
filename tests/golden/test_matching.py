"""Images, masks, matches, codes, distributions and position codes are those of the reference implementation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.distribution import match_distribution  # noqa: E402 - after the skip
from edge_resad.model.head import ResADHead  # noqa: E402
from edge_resad.model.head_settings import RESAD_PP  # noqa: E402
from edge_resad.model.position import position_code  # noqa: E402
from edge_resad.model.preprocess import paper_crop, paper_crop_mask  # noqa: E402
from edge_resad.model.profile import PAPER  # noqa: E402
from edge_resad.model.quantizer import Quantizer  # noqa: E402
from edge_resad.model.residual import nearest, residual  # noqa: E402
from edge_resad.train.losses import codebook_loss  # noqa: E402
from edge_resad.train.step import Trainer, labels_on_grid  # noqa: E402
from tests.golden.numbers import assert_golden, golden, gradient_of, image_of, rows_of, small_profile  # noqa: E402


def test_an_image_is_resized_and_cropped_as_pillow_does_it() -> None:
    numbers = golden("preprocess")
    cropped = torch.from_numpy(paper_crop(numbers["image"].numpy(), int(numbers["size"])))
    mean, std = torch.tensor(PAPER.mean), torch.tensor(PAPER.std)
    assert_golden(((cropped - mean) / std).permute(2, 0, 1), numbers["tensor"])


def test_a_mask_goes_the_way_of_its_image() -> None:
    numbers = golden("preprocess")
    cropped = torch.from_numpy(paper_crop_mask(numbers["mask"].numpy(), int(numbers["size"])))
    assert_golden(cropped[None] / 255, numbers["mask_tensor"])


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (64, 64), (32, 90)])
def test_a_flat_image_stays_flat_whatever_its_shape(shape: tuple[int, int]) -> None:
    cropped = paper_crop(np.full((*shape, 3), 201, np.uint8), 32)
    assert cropped.shape == (32, 32, 3)
    assert (cropped == 201).all()


def test_an_image_of_the_right_height_is_only_cropped() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(paper_crop(image, 32), image[:, 9:41])


@pytest.mark.parametrize("grid", [56, 28, 14])
def test_a_mask_is_sampled_at_the_corner_of_every_cell(grid: int) -> None:
    numbers = golden("mask_downsample")
    found = labels_on_grid(numbers["mask"][:, 0], grid, "nearest")
    assert_golden(found.reshape(1, grid, grid), numbers[f"nearest_{grid}"])


def test_a_mask_is_averaged_in_the_middle_of_every_cell() -> None:
    numbers = golden("mask_downsample")
    found = labels_on_grid(numbers["mask"][:, 0], 16, "bilinear")
    assert_golden(found.reshape(1, 16, 16), numbers["bilinear_16_gt0p3"])


@pytest.mark.parametrize("level", [1, 2, 3])
def test_matches_and_residuals_are_the_references(level: int) -> None:
    numbers = golden("residual")
    image, bank = numbers[f"feat{level}"], numbers[f"bank{level}"]
    rows = rows_of(image).flatten(0, 1)
    found = nearest(rows, bank, "cosine")
    assert found.tolist() == numbers[f"cos_idx{level}"].tolist()
    assert nearest(rows, bank, "l2").tolist() == numbers[f"l2_idx{level}"].tolist()
    matched = bank[found].reshape(rows_of(image).shape)
    assert_golden(image_of(matched, image), numbers[f"matched{level}"])
    for form in ("signed", "squared"):
        assert_golden(image_of(residual(rows_of(image), matched, form), image), numbers[f"res_{form}{level}"])


def test_every_image_is_matched_against_its_own_product() -> None:
    numbers = golden("residual")
    images = [numbers[f"feat{level}"] for level in (1, 2, 3)]
    profile = small_profile(replace(RESAD_PP, residual="signed", alpha=None, blocks=1), (4, 6, 8), (4, 3, 2), 12)
    banks = [[numbers[f"{name}{level}"] for level in (1, 2, 3)] for name in ("bank", "bankB")]
    found = ResADHead(profile).residuals([rows_of(image) for image in images], banks, torch.tensor([1, 0]))
    for level, image in enumerate(images, start=1):
        expected = image - numbers[f"mc_matched{level}"]
        assert_golden(image_of(found[level - 1], image), expected)


def test_the_example_by_hand_is_matched() -> None:
    numbers = golden("residual")
    rows, bank = rows_of(numbers["hand_feat"]), numbers["hand_bank"]
    matched = bank[nearest(rows[0], bank, "cosine")][None]
    assert_golden(image_of(residual(rows, matched, "squared"), numbers["hand_feat"]), numbers["hand_res_squared"])
    assert_golden(image_of(residual(rows, matched, "signed"), numbers["hand_feat"]), numbers["hand_res_signed"])


def test_a_codebook_has_the_references_loss_gradient_and_codes() -> None:
    numbers = golden("vq")
    quantizer = Quantizer(8, 4)
    quantizer.codes.data.copy_(numbers["codebook"])
    rows = rows_of(numbers["z"])
    normal = rows[numbers["mask"].flatten(1) == 0]
    assigned = quantizer.assign(normal)
    assert assigned.tolist() == numbers["idx_normal"].tolist()
    loss = codebook_loss(quantizer.codes[assigned], normal)
    torch.autograd.backward(loss)
    assert_golden(loss, numbers["loss"])
    assert_golden(gradient_of(quantizer.codes), numbers["codebook_grad"])
    assert_golden(image_of(quantizer(rows), numbers["z"]), numbers["entry_all"])
    assert quantizer.assign(rows.flatten(0, 1)).tolist() == numbers["idx_all"].tolist()


def test_codebooks_take_the_references_step() -> None:
    numbers = golden("vq_multiscale_adam")
    settings = replace(
        RESAD_PP, codes=5, blocks=1, lr=float(numbers["lr"]), weight_decay=float(numbers["weight_decay"])
    )
    trainer = Trainer(ResADHead(small_profile(settings, (2, 3, 4), (4, 2, 1))))
    for level, quantizer in enumerate(trainer.head.quantizers, start=1):
        assert isinstance(quantizer, Quantizer)
        quantizer.codes.data.copy_(numbers[f"cb_before{level}"])
    rows = [rows_of(numbers[f"z{level}"]) for level in (1, 2, 3)]
    said = trainer.codebook_step(rows, [torch.zeros(one.shape[:2], dtype=torch.bool) for one in rows])
    assert said["codebook"] == pytest.approx(float(numbers["total_loss"]), rel=1e-5)
    for level, quantizer in enumerate(trainer.head.quantizers, start=1):
        assert isinstance(quantizer, Quantizer)
        assert_golden(quantizer.codes, numbers[f"cb_after{level}"])


@pytest.mark.parametrize("alpha", ["0.0", "0.4", "0.5", "1.0"])
def test_a_matched_distribution_is_the_references(alpha: str) -> None:
    numbers = golden("efdm")
    found = match_distribution(rows_of(numbers["x"]), rows_of(numbers["ref"]), float(alpha))
    assert_golden(image_of(found, numbers["x"]), numbers[f"out_alpha_{alpha}"])


@pytest.mark.parametrize(
    ("reference", "expected"), [("hand_ref", "hand_out_alpha_0p4"), ("tie_ref", "tie_out_alpha_0p4")]
)
def test_the_example_by_hand_has_its_distribution_matched(reference: str, expected: str) -> None:
    numbers = golden("efdm")
    found = match_distribution(rows_of(numbers["hand_x"]), rows_of(numbers[reference]), 0.4)
    assert_golden(image_of(found, numbers["hand_x"]), numbers[expected])


def test_position_codes_are_the_references() -> None:
    for name, expected in golden("posenc").items():
        dims, height, width = expected.shape
        found = position_code(dims, height, width)
        assert_golden(found.T.reshape(dims, height, width), expected)
        assert name.startswith("pe_d")
