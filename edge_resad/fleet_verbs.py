"""`edge-resad fleet VERB`: the collector of what stations say, and what its store knows."""

from __future__ import annotations

import base64
import getpass
import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edge_resad.clock_floor import is_set
from edge_resad.errors import BrokerError, SettingsError, StoreError
from edge_resad.moment import ago
from edge_resad.options import read_pair

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from edge_resad.fleet.coverage import Ranges
    from edge_resad.fleet.send import Sender
    from edge_resad.fleet.settings import FleetFile
    from edge_resad.messages import SigningKey

fleet_app = typer.Typer(no_args_is_help=True, help="The collector: what stations say, stored once and acknowledged.")

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The fleet file, such as fleet.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON array.")]
DeviceOption = Annotated[Optional[str], typer.Option("--device", help="This station alone.")]  # noqa: UP045
FleetOption = Annotated[
    Path, typer.Option("--fleet", help="A file with [broker]: where to speak, and as whom. See docs/fleet.md.")
]
BrokerOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--broker", metavar="HOST[:PORT]", help="A broker without password and TLS, instead of --fleet."),
]
SigningOption = Annotated[Optional[Path], typer.Option("--key", help="The fleet's key of a role, to sign with.")]  # noqa: UP045
RoleOption = Annotated[Optional[str], typer.Option("--role", help="Refuse to sign with a key of another role.")]  # noqa: UP045
AsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--as", help="Who wants it, for the station's record; this user without it."),
]
PairsArgument = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[KEY=VALUE]...", help="Such as product=cap or value=1.4."),
]
NO_ANSWER = 3  # the exit code where a station did not answer in time
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
        from edge_resad.fleet.doubt import doubt_in
        from edge_resad.fleet.report import devices, dropped, rejected

    with _opened(_fleet(config)) as engine, engine.connect() as connection:
        found, refused, gone = devices(connection), rejected(connection), dropped(connection)
        doubt = doubt_in(connection)
    if as_json:
        print(json.dumps([asdict(device) for device in found]))
        return
    now_ms = time.time_ns() // 1_000_000
    for device in found:
        there = {True: "online", False: "OFFLINE", None: "unknown"}[device.online]
        facts = [f"seen {ago((now_ms - device.seen_ms) / 1000)} ago"]
        facts += [f"{device.waiting} waiting"] if device.waiting else []
        facts += [f"{device.dropped} given up"] if device.dropped else []
        facts += [f"{device.dead} DEAD"] if device.dead else []
        facts += [f"{device.missing} missing"] if device.missing else []
        facts += [f"{device.conflicts} CONFLICTS"] if device.conflicts else []
        facts += [f"{device.set_aside} set aside"] if device.set_aside else []
        facts += [f"{device.set_aside_dropped} more DROPPED"] if device.set_aside_dropped else []
        facts += [f"{device.open_alerts} open alerts"] if device.open_alerts else []
        if device.settings_version is not None:
            refused_them = " REFUSED" if device.settings_status == "refused" else ""
            facts.append(f"settings version {device.settings_version}{refused_them}")
        facts += [f"{camera} {' '.join(said)}" for camera, said in device.faults.items() if said]
        product = f"  {device.product}" if device.product else ""
        print(f"{there:8}{device.site}/{device.line}/{device.device}{product}  {', '.join(facts)}")
    if not found:
        print("no station has said anything yet")
    if any(device.dead for device in found):
        print(
            "dead messages are those that a station's broker will never take: on the station, edge-resad spool dead "
            "says which and why",
            file=sys.stderr,
        )
    if any(device.conflicts for device in found):
        print("two messages had one number: edge-resad fleet dedupe says what to do", file=sys.stderr)
    for reason, times in refused:
        print(f"not readable, {times} times: {reason}", file=sys.stderr)
    if gone:
        print(
            f"{gone} messages that were set aside are dropped, for there were more than [retention] "
            "rejected_rows_of_device and rejected_rows allow",
            file=sys.stderr,
        )
    if doubt is not None:
        print(doubt, file=sys.stderr)


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
        what += f", {alert.reason}" if alert.reason else ""
        doubt = "" if alert.began_quality in ("synced", "backdated") else " (clock unsure)"
        print(
            f"{'open' if alert.open else 'ended':6}{alert.severity:9}{_moment(alert.began_ms)}{doubt}  "
            f"{alert.site}/{alert.line}/{alert.device} {alert.camera} {alert.product}  {what}  {alert.alert_id}"
        )
    if not found:
        print("no alerts")


@fleet_app.command()
def audits(
    config: ConfigArgument,
    device: DeviceOption = None,
    since: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--since", help="Only what ended so short ago: a number and s, min, h or d, such as 1d."),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Show so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show who asked what of which station and how it ended, the newest first."""
    since_ms = None if since is None else time.time_ns() // 1_000_000 - _span_ms(since)
    with _needing_extra():
        from edge_resad.fleet.audits import audits as accounts

    with _opened(_fleet(config)) as engine, engine.connect() as connection:
        found = accounts(connection, device=device, since_ms=since_ms, most=most)
    if as_json:
        print(json.dumps([asdict(account) for account in found]))
        return
    rows = []
    for account in found:
        doubt = "" if account.at_quality in ("synced", "backdated") else " ?"
        who = account.issued_by or "unknown"
        who += f" ({account.role})" if account.role else ""
        arguments = [f"{name}={json.dumps(value)}" for name, value in (account.arguments or {}).items()]
        ended = account.status + (f": {account.sentence}" if account.sentence else "")
        place = f"{account.site}/{account.line}/{account.device}"
        rows.append((f"{_moment(account.at_ms)}{doubt}", place, who, " ".join([account.command, *arguments]), ended))
    print("\n".join(_table(("when, UTC", "station", "who", "what", "how it ended"), rows)) if rows else "no commands")
    if len(found) == most:
        print(f"These are the newest {most}; --most shows more.", file=sys.stderr)


@fleet_app.command()
def gaps(
    config: ConfigArgument,
    device: DeviceOption = None,
    given_up: Annotated[
        bool, typer.Option("--given-up", help="Instead what stations gave up: when, why, how many of each kind.")
    ] = False,
) -> None:
    """Show which messages are neither stored nor given up by their station."""
    with _needing_extra():
        from edge_resad.fleet.report import accounts
        from edge_resad.fleet.report import given_up as losses

    if given_up:
        with _opened(_fleet(config)) as engine, engine.connect() as connection:
            told = losses(connection, device=device)
        for loss in told:
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(loss.counts.items()) if number)
            what = kinds or "nobody knows how many"
            print(f"{_moment(loss.at_ms)}  {loss.device}  {loss.stream_id}  {loss.reason}: {what}")
        if not told:
            print("nothing was given up")
        return
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
    something is missing, or where two messages had one number.
    """
    with _needing_extra():
        from edge_resad.fleet.conflicts import sentence
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
                + (f"  conflicts {account.conflicts}" if account.conflicts else "")
            )
    generated, stored, lost, duplicates = (
        sum(getattr(account, name) for account in found) for name in ("generated", "stored", "lost", "duplicates")
    )
    print(
        f"generated {generated} stored {stored} lost {lost} duplicates {duplicates}",
        file=sys.stderr if as_json else sys.stdout,
    )
    others = [account for account in found if account.conflicts]
    for account in others:
        print(sentence(account.device, account.stream_id, account.conflicts), file=sys.stderr)
    if lost or others:
        raise typer.Exit(1)


@fleet_app.command()
def retain(
    config: ConfigArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    clock_is_right: Annotated[
        bool, typer.Option("--clock-is-right", help="Go by this computer's clock though it is suddenly far ahead.")
    ] = False,
) -> None:
    """Remove what is older than [retention] allows; the collector does so by itself."""
    fleet = _fleet(config)
    with _needing_extra():
        from edge_resad.fleet.doubt import UNSET, look_at_clock, trust_clock
        from edge_resad.fleet.retention import forecast
        from edge_resad.fleet.retention import retain as remove

    now_ms = time.time_ns() // 1_000_000
    with _opened(fleet, writing=not dry_run) as engine:
        if dry_run:
            for what, days, rows in forecast(engine, fleet.retention, now_ms):
                print(f"{rows:>10}  {what} older than {days} days")
            return
        if not is_set(now_ms / 1000):
            raise StoreError(UNSET)
        if clock_is_right:
            trust_clock(engine, now_ms)
        elif (doubt := look_at_clock(engine, now_ms, elapsed_ms=0)) is not None:
            raise StoreError(str(doubt))
        print(f"{sum(remove(engine, fleet.retention, now_ms))} rows removed")


@fleet_app.command()
def images(config: ConfigArgument) -> None:
    """Take the pictures that stations send when somebody asks for one, by HTTPS, until SIGTERM or Ctrl-C."""
    try:
        from edge_resad.fleet.serve_images import serve_images
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise SettingsError(
            f"the receiver of pictures needs {missing.name}, which is not installed. pip install 'edge-resad[fleet]'"
        ) from missing

    fleet = _fleet(config)
    logging.basicConfig(
        level=fleet.log.level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    serve_images(fleet.images)


@fleet_app.command()
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file; one that is there is left alone.")],
    role: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--role", help="Make a key of the fleet for operator, engineer or admin."),
    ] = None,
    key_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--id", help="The key's name; the file's name without it."),
    ] = None,
    of: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--of", help="Instead derive from this key of the fleet what one station needs."),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--device", help="The station that it is for, as site/line/name; belongs to --of."),
    ] = None,
) -> None:
    """Make a role's key for those who command stations, or derive from one what a single station needs."""
    from pydantic import ValidationError

    from edge_resad.messages import Address, new_key, read_key, write_key

    if (of is None) == (role is None) or (of is None) != (device is None):
        raise typer.BadParameter("say --role ROLE to make a key, or --of KEY --device SITE/LINE/NAME to derive one")
    try:
        if of is not None and device is not None:
            site, line, name = (*device.split("/"), "", "")[:3]
            made = read_key(of).for_device(Address(site=site, line=line, device=name))
        else:
            made = new_key(key_id or file.stem, role)  # type: ignore[arg-type]  # whatever it is, it is checked
    except ValidationError as wrong:
        what = " and ".join(str(one["loc"][0]) for one in wrong.errors())
        raise SettingsError(
            f"{what} will not do: a role is operator, engineer or admin, an id has 1 to 64 letters, digits, - and _."
        ) from None
    except ValueError as wrong:
        raise SettingsError(f"{wrong}. Say --device SITE/LINE/NAME.") from None
    try:
        write_key(made, file)
    except FileExistsError:
        raise SettingsError(f"{file} is there already, and is left as it is. Name another file.") from None
    except OSError as refused:
        raise SettingsError(f"{file} cannot be written: {refused.strerror}. Name another file.") from refused
    whose = f"of the station {device}" if device else "of the fleet: keep it where commands are given, and nowhere else"
    print(f"{file}: key {made.key_id} of the role {made.role}, {whose}")


@fleet_app.command()
def configure(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The station, as its name or site/line/name.")],
    settings: PairsArgument = None,
    config: FleetOption = Path("fleet.toml"),
    broker: BrokerOption = None,
    signing: SigningOption = None,
    role: RoleOption = None,
    issued_by: AsOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for its report.")] = 15.0,
) -> None:
    """Wish for settings of a station, all that shall differ from its file; they hold until others are wished for."""
    wanted = dict(map(_pair, settings or ()))
    with _sender(config, broker) as (_, sender):
        address, _online = sender.find(device)
        version, reported = sender.configure(
            address,
            wanted,
            key=_signing(signing, role),
            issued_by=issued_by or _user(),
            timeout_s=timeout,
        )
    if reported is None:
        print(f"version {version} is wished for; {address.device} has not reported it. It will when it is there.")
        raise typer.Exit(NO_ANSWER)
    for name, why in reported.refused.items():
        print(f"{name}: {why}")
    print(f"version {version} {reported.status}" + (f": {reported.sentence}" if reported.sentence else ""))
    for name, value in reported.settings.items():
        print(f"  {name} = {json.dumps(value)}")
    if reported.status != "applied":
        raise typer.Exit(1)


def send(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The station, as its name or site/line/name.")],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="Such as snapshot; see docs/commands.md.")],
    arguments: PairsArgument = None,
    config: FleetOption = Path("fleet.toml"),
    broker: BrokerOption = None,
    signing: SigningOption = None,
    role: RoleOption = None,
    issued_by: AsOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer.")] = 30.0,
    expires: Annotated[
        float, typer.Option("--expires", min=1, max=86400, help="Seconds after which it shall not begin any more.")
    ] = 60.0,
    command_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--id", help="Ask again for what became of the command with this id."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Where to write the picture of snapshot."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")] = False,
) -> None:
    """Tell a station something over the broker, and show what became of it."""
    key = _signing(signing, role)
    wanted = dict(map(_pair, arguments or ()))
    with _sender(config, broker) as (fleet, sender):
        address, online = sender.find(device)
        if command == "set-config":
            wanted = {"settings": wanted}
        if command == "fetch-image" and "upload_url" not in wanted and fleet is not None and fleet.images.url:
            from edge_resad.messages import image_path

            path = image_path(address, str(wanted.get("event", "")), str(wanted.get("what", "frame")))
            wanted["upload_url"] = fleet.images.url.rstrip("/") + path
            wanted |= {} if key is None else {"token_id": key.key_id}
        sent = sender.command(
            address,
            online,
            command,
            wanted,
            key=key,
            issued_by=issued_by or _user(),
            timeout_s=timeout,
            expires_s=expires,
            command_id=command_id,
            say=lambda said: print(said, file=sys.stderr),
        )
    reply = sent.reply
    if reply is None or reply.status == "accepted":
        print(_no_answer(address.device, sent.command_id, sent.online, sent.heard, reply is not None, expires))
        raise typer.Exit(NO_ANSWER)
    result = dict(reply.result or {})
    if output is not None and "jpeg" in result:
        try:
            output.write_bytes(base64.b64decode(str(result.pop("jpeg"))))
        except OSError as refused:
            raise SettingsError(
                f"{output} cannot be written: {refused.strerror}. Choose another --output."
            ) from refused
    if as_json:
        print(json.dumps({**reply.model_dump(mode="json"), "result": result}))
    else:
        again = ", as it was answered before" if reply.again else ""
        print(f"{reply.status}{again}: {reply.sentence or ''}".rstrip(": "))
        result.pop("jpeg", None)
        for name, value in result.items():
            print(f"  {name}: {value if isinstance(value, str) else json.dumps(value)}")
    if reply.status != "done":
        raise typer.Exit(1)


def _no_answer(device: str, command_id: str, online: bool | None, heard: bool, accepted: bool, expires_s: float) -> str:
    again = f"Ask again with --id {command_id}."
    if accepted:
        return f"{device} has accepted it and is not done. {again}"
    if not heard:
        return f"{device} does not hear: the broker has nobody to hand it to. See [commands] in its station file."
    if online:
        return f"{device} is online and did not answer. See [commands] in its file, and its log. {again}"
    there = "is offline" if online is False else "has never said anything"
    return f"{device} {there}. The command waits at the broker, and expires {expires_s:g} s after it was sent. {again}"


@contextmanager
def _sender(config: Path, broker: str | None) -> Iterator[tuple[FleetFile | None, Sender]]:
    from edge_resad.fleet.send import Sender
    from edge_resad.sections import BrokerAddress

    if broker is None:
        fleet = _fleet(config)
        with Sender(fleet.broker) as sender:
            yield fleet, sender
        return
    host, _, port = broker.rpartition(":") if broker.rpartition(":")[2].isdigit() else (broker, "", "1883")
    if not host or not 0 < int(port) < 65536:
        raise BrokerError(f"{broker!r} is no broker. Say HOST or HOST:PORT.")
    with Sender(BrokerAddress(host=host, port=int(port))) as sender:
        yield None, sender


def _signing(file: Path | None, role: str | None) -> SigningKey | None:
    from edge_resad.messages import read_key

    if file is None:
        if role is not None:
            raise typer.BadParameter("--role says whose key --key is, and there is no --key")
        return None
    key = read_key(file)
    if role is not None and key.role != role:
        raise SettingsError(f"{file} is a key of the role {key.role}, not {role}. Give the other key.")
    return key


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _pair(text: str) -> tuple[str, Any]:
    """`product=cap` is text, `value=1.4` a number."""
    name, value, said = read_pair(text)
    return name, value if isinstance(said, (dict, list)) or said is None else said


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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns; what a terminal would obey instead of show is a question mark."""
    lines = [["".join(letter if letter.isprintable() else "?" for letter in cell) for cell in row] for row in rows]
    lines.insert(0, list(head))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _span_ms(text: str) -> int:
    told = re.fullmatch(r"([0-9]{1,6})(s|min|h|d)", text)
    if told is None:
        raise typer.BadParameter(f"--since {text} is no time: say a number and s, min, h or d, such as 90min or 1d")
    return int(told[1]) * {"s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}[told[2]]


def _moment(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000))
