"""Both constraintors compute what the reference implementation's compute."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.constraintor import ConvConstraintor, TokenConstraintor  # noqa: E402 - after the skip
from tests.golden.numbers import assert_golden, golden, image_of, load_conv, rows_of  # noqa: E402


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_convolutional_one(level: int) -> None:
    numbers = golden("constraintor_conv")
    image = numbers[f"x{level}"]
    constraintor = ConvConstraintor(image.shape[1])
    load_conv(constraintor, numbers, level)
    grid = tuple(image.shape[2:])
    with torch.no_grad():
        assert_golden(image_of(constraintor.eval()(rows_of(image), grid), image), numbers[f"y_eval{level}"])
        assert_golden(image_of(constraintor.train()(rows_of(image), grid), image), numbers[f"y_train{level}"])
    assert_golden(constraintor.norm.get_buffer("running_mean"), numbers[f"bn_mean_after{level}"])
    assert_golden(constraintor.norm.get_buffer("running_var"), numbers[f"bn_var_after{level}"])


def test_the_gated_one() -> None:
    numbers = golden("constraintor_ortho")
    image = numbers["x"]
    constraintor = TokenConstraintor(image.shape[1])
    layers = {
        "fc1": constraintor.expand,
        "fc2": constraintor.project,
        "se_fc1": constraintor.gate_in,
        "se_fc2": constraintor.gate_out,
    }
    with torch.no_grad():
        for name, layer in layers.items():
            layer.weight.copy_(numbers[f"{name}_w"])
            layer.bias.copy_(numbers[f"{name}_b"])
        assert_golden(image_of(constraintor(rows_of(image), (3, 3)), image), numbers["y"])
