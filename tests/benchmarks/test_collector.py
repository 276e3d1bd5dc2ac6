"""The stampede is one of real parts: every message is stored, plain and by stations with certificates."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.collector import app


@pytest.mark.broker
@pytest.mark.timeout(300)
@pytest.mark.parametrize("tls", [False, True])
def test_stations_that_come_back_at_once_lose_nothing(tls: bool) -> None:
    told = ["stampede", "--devices", "8", "--backlog", "5", "--timeout-s", "100", "--json", *(["--tls"] if tls else [])]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["tls"], said["generated"], said["stored"], said["lost"]) == ("yes" if tls else "no", 40, 40, 0)
