"""Every name of TensorRT and pycuda that our modules touch exists in every version that a device may have."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.api_names import GUARDS, PYCUDA, VERSIONS, Names, Report, walk
from tests.engine.reduce_tensorrt_api import LIST, our_sources, reduced_list

AGAIN = "if the name is right: python -m tests.engine.reduce_tensorrt_api FOLDER_OF_DUMPS"


@pytest.fixture(scope="module")
def lists() -> dict[str, Any]:
    return dict(json.loads(LIST.read_text(encoding="utf-8")))


def names_of(lists: dict[str, Any], version: str) -> Names:
    return Names(trt=lists[version], driver=lists[PYCUDA])


def walked(lists: dict[str, Any], body: str, version: str = "10.3.0") -> Report:
    """A function with these lines, in a module that imports some types."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    source = (
        "from tensorrt import Builder, IBuilderConfig, INetworkDefinition\n"
        f"def work(trt, driver, builder: Builder, config: IBuilderConfig, network: INetworkDefinition):\n{lines}\n"
    )
    return walk({"work.py": source}, names_of(lists, version))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_exists_in_every_version_or_stands_behind_a_guard(lists: dict[str, Any], version: str) -> None:
    assert walk(our_sources(), names_of(lists, version)).problems == [], AGAIN


def test_the_walk_sees_the_calls_that_matter(lists: dict[str, Any]) -> None:
    touched = walk(our_sources(), names_of(lists, "10.3.0")).touched
    assert {
        ("trt", "Builder", "build_serialized_network"),
        ("trt", "OnnxParser", "parse_from_file"),
        ("trt", "NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("trt", "IExecutionContext", "execute_async_v3"),
        ("driver", "Device", "retain_primary_context"),
    } <= touched


def test_every_declared_guard_is_used(lists: dict[str, Any]) -> None:
    assert walk(our_sources(), names_of(lists, VERSIONS[-1])).guards == GUARDS.keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_where_a_guards_name_exists_so_do_those_behind_it(lists: dict[str, Any], version: str) -> None:
    names = names_of(lists, version)

    def exists(owner: str, name: str) -> bool:
        return name in names.classes("trt") if not owner else names.member("trt", owner, name) is not None

    for guard, behind in GUARDS.items():
        assert not exists(*guard) or all(exists(*one) for one in behind)


def test_tensorrts_module_is_always_called_trt() -> None:
    others = [
        f"{where}, line {node.lineno}"
        for where, source in our_sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign)
        and any(isinstance(part, ast.Attribute) and part.attr == "module" for part in ast.walk(node.value))
        and "trt" not in {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    ]
    assert others == []


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("trt.Bilder(None)", "trt.Bilder, which is not there"),
        ("builder.build_cuda_engine(network, config)", "trt.Builder.build_cuda_engine, which is not there"),
        ("config.set_flag(trt.BuilderFlag.FP16)", "trt.BuilderFlag.FP16, which is not there"),
        ("made = trt.Builder(None)\nmade.max_workspace_size = 1", "trt.Builder.max_workspace_size"),
        ("config.num_compute_capabilities = 1", "trt.IBuilderConfig.num_compute_capabilities"),
        ("if hasattr(config, 'clear_flag'):\n    pass", "a guard that is not declared"),
        ("builder.create_network(1)", "Builder.create_network an integer"),
        ("config.set_memory_pool_limit(0, 1 << 20)", "IBuilderConfig.set_memory_pool_limit an integer"),
        ("made = driver.Stream()\nmade.handel", "driver.Stream.handel"),
        ("context = driver.Device(0).retain_primary_context()\ncontext.push()", "unknown type"),
    ],
)
def test_a_lie_about_the_api_is_found(lists: dict[str, Any], lie: str, said: str) -> None:
    assert any(said in problem for problem in walked(lists, lie).problems)


@pytest.mark.parametrize(
    "truth",
    [
        "builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))",
        "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1048576)\nconfig.builder_optimization_level = 5",
        "if hasattr(config, 'set_compute_capability'):\n    config.num_compute_capabilities = 1",
        "network.get_input(0).name.upper()",
    ],
)
def test_the_truth_about_the_api_is_left_alone(lists: dict[str, Any], truth: str) -> None:
    assert walked(lists, truth).problems == []


@pytest.mark.shared
def test_the_list_is_what_the_whole_dumps_give(lists: dict[str, Any], evaluation_data: Path) -> None:
    dumps = evaluation_data.parent / "tensorrt-api"
    if not dumps.is_dir():
        pytest.skip("no dumps of TensorRT's names beside the evaluation images")
    assert lists == json.loads(json.dumps(reduced_list(dumps))), AGAIN
