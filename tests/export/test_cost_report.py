"""The report says what a bundle costs, or would cost with another image or bank; the page shows what it says."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import open_bundle
from edge_resad.errors import BundleError
from export.cost import GraphCost, StageCost
from export.cost_report import CAVEAT, Report, as_json, as_text, report
from export.verbs import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cost.md"
SHIPPED = open_bundle()
CAPACITIES = [level.capacity for level in SHIPPED.manifest.levels]


@pytest.fixture(scope="module")
def shipped() -> Report:
    return report(SHIPPED)


def stages(cost: GraphCost) -> dict[str, StageCost]:
    return {stage.stage: stage for stage in cost.stages}


def test_a_plan_with_the_bundles_own_numbers_costs_what_the_bundle_costs(shipped: Report) -> None:
    assert report(SHIPPED, size=SHIPPED.manifest.image_size, capacities=CAPACITIES) == shipped


def test_a_bank_twice_as_large_doubles_matching_and_nothing_else_that_multiplies(shipped: Report) -> None:
    planned = report(SHIPPED, capacities=[2 * count for count in CAPACITIES])
    assert planned.memory["bank"] == 2 * shipped.memory["bank"]
    after = stages(planned.cost)
    for name, stage in stages(shipped.cost).items():
        assert after[name].macs == (2 if name.startswith("matching") else 1) * stage.macs, name
    assert 1.8 < planned.cost.peak_bytes / shipped.cost.peak_bytes < 2


def test_an_image_twice_as_wide_makes_every_stage_four_times_as_large(shipped: Report) -> None:
    planned = report(SHIPPED, size=512)
    assert planned.image_size == 512
    assert planned.cost.total.macs == pytest.approx(4 * shipped.cost.total.macs, rel=1e-3)
    assert stages(planned.cost)["stem"].macs == 4 * stages(shipped.cost)["stem"].macs
    assert planned.memory["bank"] == shipped.memory["bank"]


def test_a_bank_that_does_not_divide_into_groups_can_be_planned() -> None:
    planned = report(SHIPPED, capacities=[100, 64, 64])
    cells, channels = SHIPPED.manifest.levels[0].cells, SHIPPED.manifest.levels[0].channels
    assert stages(planned.cost)["matching 0"].macs == 100 * cells * channels


@pytest.mark.parametrize(
    ("size", "capacities", "says"),
    [
        (300, None, "300 pixels does not divide into cells of 32. Choose a multiple of 32"),
        (0, None, "0 pixels"),
        (None, [2048, 1024], "capacities 2048,1024 do not fit: the bundle has 3 levels"),
        (None, [2048, 1024, 0], "one number above 0"),
    ],
)
def test_a_plan_that_cannot_be_says_what_can(size: int | None, capacities: list[int] | None, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        report(SHIPPED, size=size, capacities=capacities)


def test_a_plan_is_of_the_fp32_graph() -> None:
    with pytest.raises(BundleError, match=r"not of int8\. Leave out --precision"):
        report(SHIPPED, "int8", size=256)


def test_a_plan_of_a_profile_that_is_gone_is_refused() -> None:
    foreign = replace(SHIPPED, manifest=SHIPPED.manifest.model_copy(update={"profile": "edge-of-old"}))
    with pytest.raises(BundleError, match="of a profile edge-of-old that this release has not"):
        report(foreign, size=256)


def test_tensorrts_rungs_can_be_counted_too(shipped: Report) -> None:
    found = report(SHIPPED, "int8+fp16").cost
    assert found.total.macs == shipped.cost.total.macs
    assert found.total.weight_bytes < 0.35 * shipped.cost.total.weight_bytes
    assert {cost.arithmetic for cost in found.nodes} == {"int8", "fp16", "fp32"}


def test_a_precision_that_the_bundle_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(BundleError, match=r"holds no int4 graphs, only int8\+fp16, int8\+fp32, fp16, fp32, int8"):
        report(SHIPPED, "int4")


def test_text_and_json_both_say_that_the_times_are_an_estimate(shipped: Report) -> None:
    assert CAVEAT in as_text(shipped)
    assert "not a measurement" in json.loads(as_json(shipped))["note"]


def test_json_has_the_tables_numbers_whole(shipped: Report) -> None:
    said = json.loads(as_json(shipped))
    assert said["total"]["macs"] == shipped.cost.total.macs
    assert [stage["stage"] for stage in said["stages"]] == [stage.stage for stage in shipped.cost.stages]
    assert [level["rows"] for level in said["bank"]] == CAPACITIES
    assert said["memory_bytes"] == shipped.memory
    assert all(item["estimate_ms"] > 0 for item in said["estimates"])


def test_what_is_no_list_of_capacities_is_refused_with_one_that_is() -> None:
    done = CliRunner().invoke(app, ["cost", "--capacity", "many"])
    assert done.exit_code == 2
    assert "'many' is not a list of numbers such as 4096,2048,512" in done.output


def shown() -> list[tuple[list[str], list[str]]]:
    """Every command of the page, as words, with the lines that the page shows of its output."""
    blocks = re.findall(
        r"^```console\n\$ python -m export (.*)\n((?:.*\n)*?)```", PAGE.read_text("utf-8"), re.MULTILINE
    )
    return [(shlex.split(command), output.splitlines()) for command, output in blocks]


def test_the_page_shows_the_whole_table_and_two_plans() -> None:
    assert [words for words, _ in shown()] == [
        ["cost"], ["cost", "--capacity", "4096,2048,512"], ["cost", "--size", "512"]
    ]  # fmt: skip
    assert "..." not in shown()[0][1]


@pytest.mark.parametrize(("words", "lines"), shown(), ids=[" ".join(words) for words, _ in shown()])
def test_a_command_of_the_page_prints_what_the_page_shows(words: list[str], lines: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    if "..." not in lines:
        assert done.stdout.splitlines() == lines
    printed = iter(done.stdout.splitlines())
    assert [line for line in lines if line != "..." and line not in printed] == []  # in this order
