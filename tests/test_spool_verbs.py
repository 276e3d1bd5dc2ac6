"""`edge-resad spool`: an operator sees what waits and decides what becomes of what no broker takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_resad.cli import app
from edge_resad.device.spool import Kind, Spool
from tests.mqtt_peers import eventually

ALERT = "er/v1/s/l/d/alert/major"


def station(folder: Path) -> Path:
    path = folder / "station.toml"
    path.write_text('[station]\ndevice = "d"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "bank.npz"\n')
    return path


def filled(folder: Path) -> None:
    kinds: tuple[Kind, ...] = ("fail", "fail", "alert", "alert")
    with Spool(folder / "spool.db", max_bytes=1 << 24, commit_ms=1.0, reserve_bytes=0) as spool:
        for kind in kinds:
            spool.put(ALERT, lambda stamp: b"message", kind=kind)
        assert spool.flush(60)
        for letter in spool.oldest(10)[1:3]:
            spool.refused(letter, "the broker said: Packet too large")
        assert eventually(lambda: spool._totals.dead == 2)


def asked(*words: object) -> str:
    done = CliRunner().invoke(app, ["spool", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_what_waits_and_what_is_dead_is_listed_while_the_station_runs(tmp_path: Path) -> None:
    filled(tmp_path)
    with Spool(tmp_path / "spool.db", max_bytes=1 << 24, reserve_bytes=0) as spool:
        said = asked("list", station(tmp_path))
        assert f"stream {spool.stream_id}, next number 5" in said
        assert "alert            1 waiting" in said
        assert "fail             1 waiting" in said
        assert "2 dead" in said
        dead = asked("dead", station(tmp_path)).splitlines()
    assert dead == [
        f"2  fail  7 bytes  {ALERT}  the broker said: Packet too large",
        f"3  alert  7 bytes  {ALERT}  the broker said: Packet too large",
    ]


def test_a_dead_letter_waits_again_or_is_given_up(tmp_path: Path) -> None:
    filled(tmp_path)
    assert asked("retry", station(tmp_path), "--seq", 3).startswith("1 will be sent")
    assert asked("drop", station(tmp_path)).startswith("1 given up")
    assert "no dead letters" in asked("dead", station(tmp_path))
    with Spool(tmp_path / "spool.db", max_bytes=1 << 24, reserve_bytes=0) as spool:
        assert [letter.seq for letter in spool.oldest(10)] == [1, 3, 4]
        assert (spool.dead, spool.dropped) == (0, 1)
    assert "1 given up over the life of the stream" in asked("list", station(tmp_path))


def test_a_running_station_keeps_its_dead_letters(tmp_path: Path) -> None:
    filled(tmp_path)
    with Spool(tmp_path / "spool.db", max_bytes=1 << 24, reserve_bytes=0), pytest.raises(Exception, match="in use by"):
        asked("retry", station(tmp_path))


def test_a_number_that_is_no_dead_letter_is_said(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(Exception, match="4 is no dead letter"):
        asked("drop", station(tmp_path), "--seq", 4)


def test_a_spool_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    for verb in ("list", "dead", "retry", "drop"):
        with pytest.raises(Exception, match="no spool at"):
            asked(verb, station(tmp_path))
    assert not (tmp_path / "spool.db").exists()
