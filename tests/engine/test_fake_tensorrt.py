"""The TensorRT that tests run has no name that the real one lacks, in any version that a device may have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.api_names import PYCUDA, VERSIONS, Names
from tests.engine.fake_gpu import fake_tensorrt
from tests.engine.reduce_tensorrt_api import LIST


def offered() -> list[tuple[str, str]]:
    """Class ("" for the module) and name of everything public that is defined there."""
    classes = {
        name: found
        for name, found in vars(fake_tensorrt).items()
        if isinstance(found, type) and found.__module__ == fake_tensorrt.__name__ and not name.startswith("_")
    }
    members = [
        (name, member) for name, found in classes.items() for member in vars(found) if not member.startswith("_")
    ]
    return [*(("", name) for name in classes), *members]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_of_the_fake_is_one_of_the_real_module(version: str) -> None:
    lists: dict[str, Any] = json.loads(LIST.read_text(encoding="utf-8"))
    names = Names(trt=lists[version], driver=lists[PYCUDA])
    invented = [
        f"{owner}.{name}"
        for owner, name in offered()
        if (name not in names.classes("trt") if not owner else names.member("trt", owner, name) is None)
    ]
    assert invented == []


def test_a_name_that_nobody_knows_is_an_error() -> None:
    trt: Any = fake_tensorrt
    config = trt.Builder(trt.ILogger()).create_builder_config()
    with pytest.raises(AttributeError):
        config.max_workspace_size = 1
    with pytest.raises(AttributeError):
        trt.BuilderFlag.FP16  # noqa: B018
