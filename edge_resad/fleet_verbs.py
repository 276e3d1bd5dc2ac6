"""`edge-resad fleet VERB`: the collector of what stations say, and what its store knows."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge_resad.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from edge_resad.fleet.coverage import Ranges
    from edge_resad.fleet.settings import FleetFile

fleet_app = typer.Typer(no_args_is_help=True, help="The collector: what stations say, stored once and acknowledged.")

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The fleet file, such as fleet.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON array.")]
DeviceOption = Annotated[Optional[str], typer.Option("--device", help="This station alone.")]  # noqa: UP045
_SHOWN = 5  # ranges of missing messages in one line


@fleet_app.command()
def ingest(config: ConfigArgument) -> None:
    """Store what stations say and acknowledge it after the commit, until SIGTERM or Ctrl-C."""
    fleet = _fleet(config)
    with _needing_extra():
        from edge_resad.fleet.ingest import ingest as run
    from edge_resad.signals import stopped_by_signals

    logging.basicConfig(
        level=fleet.log.level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with stopped_by_signals() as stop, _opened(fleet, writing=True) as engine:
        totals = run(fleet, engine, stop)
    print(totals)


@fleet_app.command()
def migrate(config: ConfigArgument) -> None:
    """Make the store's tables, or bring them up to date; the collector does so itself when it starts."""
    fleet = _fleet(config)
    with _needing_extra():
        from edge_resad.fleet.database import newest_revision, shown

    with _opened(fleet, writing=True) as engine:
        print(f"{shown(engine)}: revision {newest_revision()}")


@fleet_app.command()
def status(config: ConfigArgument, as_json: JsonOption = False) -> None:
    """Show every station: whether it is there, what waits in its outbox, what is missing of it."""
    with _needing_extra():
        from edge_resad.fleet.report import devices, rejected

    with _opened(_fleet(config)) as engine, engine.connect() as connection:
        found, refused = devices(connection), rejected(connection)
    if as_json:
        print(json.dumps([asdict(device) for device in found]))
        return
    now_ms = time.time_ns() // 1_000_000
    for device in found:
        there = {True: "online", False: "OFFLINE", None: "unknown"}[device.online]
        facts = [f"seen {_ago(now_ms - device.seen_ms)} ago"]
        facts += [f"{device.waiting} waiting"] if device.waiting else []
        facts += [f"{device.dropped} given up"] if device.dropped else []
        facts += [f"{device.missing} missing"] if device.missing else []
        facts += [f"{device.open_alerts} open alerts"] if device.open_alerts else []
        facts += [f"{camera} {' '.join(said)}" for camera, said in device.faults.items() if said]
        product = f"  {device.product}" if device.product else ""
        print(f"{there:8}{device.site}/{device.line}/{device.device}{product}  {', '.join(facts)}")
    if not found:
        print("no station has said anything yet")
    for reason, times in refused:
        print(f"not readable, {times} times: {reason}", file=sys.stderr)


@fleet_app.command()
def alerts(
    config: ConfigArgument,
    most: Annotated[int, typer.Option("--most", min=1, help="Show so many.")] = 50,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show alerts by rank: open ones first, then the worse, then the newer. Each once."""
    with _needing_extra():
        from edge_resad.fleet.report import alerts as ranked

    with _opened(_fleet(config)) as engine, engine.connect() as connection:
        found = ranked(connection, most=most, only_open=only_open)
    if as_json:
        print(json.dumps([asdict(alert) for alert in found]))
        return
    for alert in found:
        what = alert.fault or (f"score {alert.score:.2f} of {alert.threshold:.2f}" if alert.score is not None else "")
        doubt = "" if alert.began_quality in ("synced", "backdated") else " (clock unsure)"
        print(
            f"{'open' if alert.open else 'ended':6}{alert.severity:9}{_moment(alert.began_ms)}{doubt}  "
            f"{alert.site}/{alert.line}/{alert.device} {alert.camera} {alert.product}  {what}  {alert.alert_id}"
        )
    if not found:
        print("no alerts")


@fleet_app.command()
def gaps(config: ConfigArgument, device: DeviceOption = None) -> None:
    """Show which messages are neither stored nor given up by their station."""
    with _needing_extra():
        from edge_resad.fleet.report import accounts

    with _opened(_fleet(config)) as engine, engine.connect() as connection:
        found = [account for account in accounts(connection, device=device) if account.missing]
    for account in found:
        why = "  the station set this outbox aside as damaged" if account.damaged else ""
        print(f"{account.device}  {account.stream_id}  {account.lost} missing: {_in_words(account.missing)}{why}")
    if not found:
        print("nothing is missing")


@fleet_app.command()
def dedupe(config: ConfigArgument, device: DeviceOption = None, as_json: JsonOption = False) -> None:
    """Prove it, stream by stream: generated, stored, absorbed duplicates, given up, missing. Exit code 1 where
    something is missing.
    """
    with _needing_extra():
        from edge_resad.fleet.report import accounts

    with _opened(_fleet(config)) as engine, engine.connect() as connection:
        found = accounts(connection, device=device)
    if as_json:
        print(json.dumps([{**asdict(account), "lost": account.lost} for account in found]))
    else:
        for account in found:
            print(
                f"{account.device}  {account.stream_id}  generated {account.generated}  stored {account.stored}  "
                f"duplicates {account.duplicates}  given up {account.given_up}  missing {account.lost}"
            )
    generated, stored, lost, duplicates = (
        sum(getattr(account, name) for account in found) for name in ("generated", "stored", "lost", "duplicates")
    )
    print(
        f"generated {generated} stored {stored} lost {lost} duplicates {duplicates}",
        file=sys.stderr if as_json else sys.stdout,
    )
    if lost:
        raise typer.Exit(1)


@fleet_app.command()
def retain(
    config: ConfigArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what is older than [retention] allows; the collector does so by itself."""
    fleet = _fleet(config)
    with _needing_extra():
        from edge_resad.fleet.retention import forecast
        from edge_resad.fleet.retention import retain as remove

    now_ms = time.time_ns() // 1_000_000
    with _opened(fleet, writing=not dry_run) as engine:
        if dry_run:
            for what, days, rows in forecast(engine, fleet.retention, now_ms):
                print(f"{rows:>10}  {what} older than {days} days")
            return
        print(f"{sum(remove(engine, fleet.retention, now_ms))} rows removed")


def _fleet(config: Path) -> FleetFile:
    from edge_resad.fleet.settings import load_fleet

    return load_fleet(config)


@contextmanager
def _opened(fleet: FleetFile, *, writing: bool = False) -> Iterator[Engine]:
    with _needing_extra():
        from edge_resad.fleet.database import opened

        with opened(fleet.store.url, writing=writing) as engine:
            yield engine


@contextmanager
def _needing_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("sqlalchemy", "alembic", "psycopg"):
            raise
        raise SettingsError(
            f"the fleet's store needs {missing.name}, which is not installed. pip install 'edge-resad[fleet]'"
        ) from missing


def _in_words(ranges: Ranges) -> str:
    shown = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges[:_SHOWN])
    return shown + (f" and {len(ranges) - _SHOWN} more ranges" if len(ranges) > _SHOWN else "")


def _moment(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000))


def _ago(ms: int) -> str:
    seconds = max(0, ms // 1000)
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
