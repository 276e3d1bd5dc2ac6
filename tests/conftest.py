"""What some tests need from outside: the evaluation images, a real broker. Without it they skip and say why."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.mqtt_peers import MOSQUITTO
from tests.postgres_server import POSTGRES

CHECKOUT = Path(__file__).resolve().parent.parent

# For torch and NumPy, which are not imported yet, and for programs that tests start. Where cores are fewer than
# threads, those of one sum wait for each other as busily as they compute: seconds become minutes beside others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every run looks at the same examples, or HYPOTHESIS_PROFILE=thorough where nobody has looked yet. On a busy machine
# none of them is too slow.
settings.register_profile(
    "everywhere",
    deadline=None,
    derandomize="HYPOTHESIS_PROFILE" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("everywhere")


def _evaluation_data() -> Path | None:
    named = os.environ.get("EDGE_RESAD_EVALUATION_DATA")
    folder = Path(named) if named else CHECKOUT / "../shared/data"
    return folder.resolve() if folder.is_dir() else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("shared") and _evaluation_data() is None:
        pytest.skip("no evaluation images: set EDGE_RESAD_EVALUATION_DATA to their folder")
    if item.get_closest_marker("broker") and MOSQUITTO is None:
        pytest.skip("no mosquitto on PATH or in /usr/sbin: apt-get install mosquitto")
    if item.get_closest_marker("postgres") and POSTGRES is None:
        pytest.skip("no PostgreSQL server programs (initdb, pg_ctl): apt-get install postgresql")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged may be no text, such as half a character that somebody sent: xdist would end all tests."""
    report = yield
    report.sections = [(name, said.encode(errors="backslashreplace").decode()) for name, said in report.sections]
    return report


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """What a test says of how much is logged, as a station does when it is told to, ends with the test."""
    loggers = [logging.getLogger(), logging.getLogger("edge_resad")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def evaluation_data() -> Path:
    """The folder of evaluation images; for tests marked `shared`."""
    folder = _evaluation_data()
    assert folder is not None, "a test that asks for evaluation_data carries the marker `shared`"
    return folder
