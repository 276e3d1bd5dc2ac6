"""The benchmark of changeovers changes products at stations that run, counts every part, and measures the pieces."""

from __future__ import annotations

import pytest

from benchmarks.changeover.__main__ import measured
from benchmarks.changeover.line import Run


def test_a_part_that_nobody_knows_of_is_lost() -> None:
    run = Run(took_s={}, shown=10, judged=7, not_inspected={"too_old": 2})
    assert run.lost == 1


@pytest.mark.timeout(600)
def test_products_change_by_command_program_and_code_and_no_part_is_lost() -> None:
    found = measured(changes=2, minutes=0, rate=5.0, times=4, sizes=((640, 480),))
    for run in found["stations"].values():
        assert (run["lost"], run["wrong_product"], run["engines"]) == (0, 0, 1)
        assert run["shown"] == run["judged"] + sum(run["not_inspected"].values())
    asked = found["stations"]["asked"]
    assert {way: took["count"] for way, took in asked["took_ms"].items()} == {"command": 2, "program": 2, "schedule": 0}
    assert asked["in_line_ms"]["count"] == 4
    for kind in ("qr", "barcode"):
        took = found["stations"][kind]["took_ms"]
        assert (
            took["read"]["count"] + took["ready"]["count"] + took["same"]["count"] == found["stations"][kind]["judged"]
        )
        assert found["read"][kind]["640x480"]["code"]["right"] == 4
        assert found["read"][kind]["640x480"]["none"]["right"] == 4
    assert found["align"]["640x480"]["near"]["right"] == 4
    assert found["likeness"]["own_least"] > 0.7 > found["likeness"]["other_most"]
    assert {regions: piece["change_ms"]["count"] for regions, piece in found["swap"].items()} == {"1": 4, "4": 4}
