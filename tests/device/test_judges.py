"""One engine for all judges: what it does while no part is there costs nobody anything."""

from __future__ import annotations

import pytest

from edge_resad.device.judges import keep_warm
from edge_resad.engine.inspector import Inspector
from edge_resad.errors import EngineError
from tests.products import BUNDLE, bank_of


def test_an_engine_that_fails_while_no_part_is_there_does_not_end_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[str]()

    def failing() -> None:
        tried.append("run")
        raise EngineError("the GPU is gone")

    with Inspector(BUNDLE, bank_of("flange")) as inspector:
        monkeypatch.setattr(inspector._engine, "run", failing)
        keep_warm([inspector])
    assert tried == ["run"]
