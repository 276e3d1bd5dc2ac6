"""The learned head: how it matches, adapts and scores, and that a device's form of it gives the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from torch import nn  # noqa: E402 - after the skip

from edge_resad.model.distribution import match_distribution  # noqa: E402
from edge_resad.model.head import ResADHead  # noqa: E402
from edge_resad.model.head_settings import RESAD_PP_IMAGEBIND, HeadSettings  # noqa: E402
from edge_resad.model.profile import EDGE, EDGE_RESAD, LEARNED_PROFILES, PAPER, PAPER_V1, PROFILES  # noqa: E402
from edge_resad.model.quantizer import Quantizer, perplexity  # noqa: E402
from edge_resad.model.residual import nearest  # noqa: E402
from edge_resad.model.scoring import MapScorer, image_scores, level_maxima  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor


def _small(**changes: Any) -> ResADHead:
    head = EDGE_RESAD.head
    assert head is not None
    settings = replace(head, **{"codes": 16, "blocks": 2, "feature_scale": 1.0, **changes})
    return ResADHead(replace(EDGE_RESAD, head=settings, size=64)).eval()


def _features(head: ResADHead, images: int, seed: int = 0) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    taps = head.profile.taps
    return [torch.randn(images, head.profile.grid(tap) ** 2, tap.channels, generator=random) for tap in taps]


def _bank(head: ResADHead, seed: int = 9) -> list[Tensor]:
    return [rows.flatten(0, 1) for rows in _features(head, 2, seed)]


def _same(found: Any, expected: Any, **tolerance: float) -> None:
    torch.testing.assert_close(list(found), list(expected), **tolerance)


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "signed": {"residual": "signed"},
    "without residuals": {"residuals": False},
    "without distribution matching": {"alpha": None},
    "without a constraintor": {"constraintor": None},
    "with a gated constraintor": {"constraintor": "ortho_mlp"},
    "unconditional": {"position_dims": 0},
    "scored as in the first paper": {"score": "v1", "blur": 0.0},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_form_for_a_device_gives_the_same_numbers(changes: dict[str, Any]) -> None:
    head = _small(**changes)
    features, bank = _features(head, 3), _bank(head)
    with torch.no_grad():
        expected, found = head(features, [bank]), head.folded().judge(features, bank)
        score_map, score = head.folded()(features, bank, level_maxima(expected.log_likelihood))
    for level in range(len(features)):
        _same([found[0][level], found[1][level]], [expected[0][level], expected[1][level]], atol=1e-5, rtol=1e-5)
    assert score_map.shape == (3, 8, 8)
    assert score.shape == (3,)
    assert score_map.std() > 1e-4, "a flat map compares nothing"


def test_the_form_for_a_device_is_a_copy_and_leaves_the_head_in_training() -> None:
    head = _small().train()
    folded = head.folded()
    assert head.training
    assert len(head.flows) == 2
    features, bank = _features(head, 1), _bank(head)
    before = folded(features, bank, torch.zeros(2))
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(1.0)
    _same(folded(features, bank, torch.zeros(2)), before, rtol=0, atol=0)


def test_the_form_for_a_device_is_exported_with_its_ties() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = pytest.importorskip("export.graph", reason="onnx is the workstation's alone")
    folded = _small().folded()
    features, bank = _features(folded.head, 1), _bank(folded.head)
    for rows, references in zip(features, bank, strict=True):
        rows[:, ::2] = references[: len(rows[0, ::2])]  # half of the residuals are zero, hence equal

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.folded = folded

        def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = self.folded(inputs[:2], inputs[2:4], inputs[4])
            return found

    inputs, names = [*features, *bank, torch.tensor([-0.9, -0.9])], list("abcde")
    model = graph.check(graph.fold_constants(graph.trace(Flat().eval(), inputs, names, ["map", "score"])))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    with torch.no_grad():
        expected_map, expected_score = folded(features, bank, inputs[-1])
    torch.testing.assert_close(torch.from_numpy(found[0]), expected_map, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(found[1]), expected_score, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("match", ["cosine", "l2"])
def test_rows_that_are_repeated_change_nothing(match: str) -> None:
    head = _small()
    head.profile = replace(head.profile, match=match)  # type: ignore[arg-type]
    features, bank = _features(head, 2), _bank(head)
    filled = [rows[torch.arange(3 * len(rows) // 2) % len(rows)] for rows in bank]
    with torch.no_grad():
        once, again = head(features, [bank]), head(features, [filled])
    for level in range(len(features)):
        _same([again[0][level], again[1][level]], [once[0][level], once[1][level]], atol=1e-6, rtol=1e-6)


def test_a_feature_scale_scales_what_is_matched_and_not_the_match() -> None:
    features, bank = _features(_small(), 2), _bank(_small())
    for residual, factor in (("signed", 0.5), ("squared", 0.25)):
        plain = _small(residual=residual, feature_scale=1.0).residuals(features, [bank])
        scaled = _small(residual=residual, feature_scale=0.5).residuals(features, [bank])
        _same(scaled, [factor * rows for rows in plain])


def test_a_batch_is_judged_as_its_images_are_alone() -> None:
    head = _small()
    features, bank = _features(head, 3), _bank(head)
    with torch.no_grad():
        together = head(features, [bank])
        alone = head([rows[1:2] for rows in features], [bank])
    for level in range(len(features)):
        torch.testing.assert_close(together.log_likelihood[level][1:2], alone.log_likelihood[level])


def test_several_banks_without_saying_which_is_whose_are_a_value_error() -> None:
    head = _small()
    with pytest.raises(ValueError, match="2 banks"):
        head.residuals(_features(head, 2), [_bank(head), _bank(head)])


def test_the_match_is_the_brute_force_one_however_the_rows_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    rows, bank = torch.randn(50, 6, generator=random), torch.randn(40, 6, generator=random) * 3
    monkeypatch.setattr("edge_resad.model.residual._MOST_SIMILARITIES", 40 * 7)
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], bank[None], dim=2)
    assert nearest(rows, bank, "cosine").tolist() == cosine.argmax(1).tolist()
    assert nearest(rows, bank, "l2").tolist() == torch.cdist(rows, bank).argmin(1).tolist()


def test_alpha_1_leaves_every_value_and_alpha_0_takes_the_other_distribution() -> None:
    random = torch.Generator().manual_seed(0)
    rows, reference = torch.randn(2, 30, 5, generator=random), torch.randn(2, 30, 5, generator=random)
    torch.testing.assert_close(match_distribution(rows, reference, 1.0), rows, rtol=0, atol=0)
    taken = match_distribution(rows, reference, 0.0)
    torch.testing.assert_close(taken.sort(1).values, reference.sort(1).values)
    torch.testing.assert_close(taken.argsort(1), rows.argsort(1))


def test_equal_values_rank_by_their_position() -> None:
    rows = torch.tensor([0.0, 2.0, 0.0, 0.0, 1.0]).reshape(1, 5, 1)
    reference = torch.tensor([50.0, 40.0, 30.0, 20.0, 10.0]).reshape(1, 5, 1)
    found = match_distribution(rows, reference, 0.0).flatten()
    assert found.tolist() == [10.0, 50.0, 20.0, 30.0, 40.0]
    many = torch.zeros(1, 4096, 3)
    ramp = torch.arange(4096.0).reshape(1, 4096, 1).expand(1, 4096, 3)
    torch.testing.assert_close(match_distribution(many, ramp, 0.0), ramp)


def test_the_same_seed_makes_the_same_head_and_leaves_the_global_one_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = _small().state_dict(), _small().state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_head_is_restored_whole_from_its_weights() -> None:
    head, other = _small(), ResADHead(_small().profile, seed=1).eval()
    other.load_state_dict(head.state_dict())
    features, bank = _features(head, 1), _bank(head)
    with torch.no_grad():
        _same(other(features, [bank]).log_likelihood, head(features, [bank]).log_likelihood, rtol=0, atol=0)


def test_the_head_for_devices_is_small() -> None:
    numbers = sum(value.numel() for value in ResADHead(EDGE_RESAD).state_dict().values())
    assert 4 * numbers < 6e6


def test_the_papers_settings_are_those_of_the_papers() -> None:
    assert PAPER.head is not None
    assert PAPER_V1.head is not None
    assert (PAPER.match, PAPER.head.residual, PAPER.head.codes, PAPER.head.alpha) == ("cosine", "squared", 1536, 0.4)
    assert (PAPER.head.blocks, PAPER.head.position_dims, PAPER.head.occ) == (10, 256, "log_barrier")
    assert (PAPER_V1.match, PAPER_V1.head.residual, PAPER_V1.head.alpha) == ("l2", "signed", None)
    assert (PAPER_V1.head.blocks, PAPER_V1.head.occ, PAPER_V1.head.background) == (8, "v1", "hinge")
    assert RESAD_PP_IMAGEBIND.position_dims == 0
    assert PROFILES.keys() & LEARNED_PROFILES.keys() == {"edge"}


@pytest.mark.parametrize("changes", [{"alpha": 1.5}, {"position_dims": 6}, {"blocks": 0}, {"flow_chunk": 0}], ids=str)
def test_settings_that_cannot_be_are_a_value_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        HeadSettings(**changes)


def test_a_profile_without_a_learned_head_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="'edge' has no learned head"):
        ResADHead(EDGE)


def test_a_flat_level_stays_flat_and_a_level_of_one_cell_fills_the_map() -> None:
    scorer = MapScorer((4, 1), 9, 2.0)
    flat = torch.full((1, 16), 3.0)
    torch.testing.assert_close(scorer.smooth(scorer.scale(0, flat)), torch.full((1, 9, 9), 3.0))
    torch.testing.assert_close(scorer.scale(1, torch.full((1, 1), 3.0)), torch.full((1, 9, 9), 3.0))


def test_scaling_is_torchs_with_aligned_corners() -> None:
    cells = torch.randn(2, 25, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(
        cells.reshape(2, 1, 5, 5), (17, 17), mode="bilinear", align_corners=True
    )[:, 0]
    torch.testing.assert_close(MapScorer((5,), 17, 0.0).scale(0, cells), expected)


def test_an_images_score_is_the_mean_of_its_largest_cells() -> None:
    maps = torch.arange(18.0).reshape(2, 3, 3)
    assert image_scores(maps).tolist() == [8.0, 17.0]
    assert image_scores(maps, 3).tolist() == [7.0, 16.0]


def test_codes_that_start_from_k_means_lie_in_the_clusters() -> None:
    random = torch.Generator().manual_seed(0)
    centers = torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0]])
    rows = centers.repeat(100, 1) + 0.1 * torch.randn(300, 2, generator=random)
    quantizer = Quantizer(6, 2)
    quantizer.seed_from(rows, random)
    before = (quantizer(rows) - rows).square().mean()
    for _ in range(50):
        quantizer.follow(rows)
    assert (quantizer(rows) - rows).square().mean() <= before + 1e-6
    assert before < 0.05
    assert bool(quantizer.is_seeded)


def test_a_code_without_rows_stays_where_it_was() -> None:
    quantizer = Quantizer(3, 2)
    quantizer.codes.data.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]]))
    quantizer.follow(torch.tensor([[0.2, 0.0], [1.2, 1.0]]))
    assert quantizer.codes[2].tolist() == [9.0, 9.0]
    assert quantizer.codes[0, 0] > 0.1


def test_perplexity_counts_evenly_used_codes() -> None:
    used, even = perplexity(torch.tensor([0, 1, 2, 3]), 8)
    assert used == 4
    assert even == pytest.approx(4.0)
    used, even = perplexity(torch.tensor([0, 0, 0, 0, 0, 0, 0, 5]), 8)
    assert used == 2
    assert 1 < even < 2
    assert perplexity(torch.zeros(0, dtype=torch.long), 8) == (0, 0.0)
