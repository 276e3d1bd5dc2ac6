"""The demo's screen: a live table of the last parts on a terminal, one plain line a part anywhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.box import HORIZONTALS
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_resad.decision import Status

REFRESHES = 8  # a second; more would only take time from the inspection
MOST_ROWS = 16
AROUND = 12  # lines of the terminal that are not rows of the table
WIDEST_BAR, NARROWEST_BAR = 30, 10  # cells
OTHER_COLUMNS = 66  # cells that everything but the bar takes
ROOMY = 96  # cells from which on columns stand further apart
HOW = ("", "subtle", "plain", "clear")  # severity of a true defect, in words

Arrival = Callable[[str, int], float | None]
"""When the alert (its id) about a part (its frame) arrived, monotonic seconds; None while it has not."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One judged part."""

    frame_id: int
    captured: float  # seconds of the monotonic clock
    status: Status
    score: float
    threshold: float
    defect: str | None  # what is truly wrong with it; None for a good part
    severity: int  # of that defect, 1 subtle .. 3 clear
    latency_ms: float
    alert_id: str | None  # of the alert that was sent about this part

    @property
    def wrong(self) -> str | None:
        """What the station did wrong here; None where it was right."""
        if self.status == "fail":
            return "false" if self.defect is None else None
        return "missed" if self.defect is not None else None


class Screen:
    """Shows rows as they come. `arrival` is asked at every refresh, so alerts turn up when they turn up."""

    def __init__(self, console: Console, *, title: str, parts: int, arrival: Arrival) -> None:
        self._console = console
        self._title = title
        self._parts = parts
        self._arrival = arrival
        self._rows: list[Row] = []
        self._awaited: list[Row] = []  # plain lines: rows whose alert was not seen to arrive
        self._changing = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=REFRESHES)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._say_arrivals()

    def show(self, row: Row) -> None:
        """Take one more part."""
        with self._changing:
            self._rows.append(row)
        if self._live is None:
            self._say_arrivals()
            self._console.print(_line(row), soft_wrap=True, highlight=False)
            if row.alert_id is not None:
                self._awaited.append(row)

    def _say_arrivals(self) -> None:
        for row in list(self._awaited):
            delay = self._delay_ms(row)
            if delay is not None:
                self._awaited.remove(row)
                said = f"           alert {_short(row.alert_id)} arrived over MQTT, {delay:.0f} ms after the photograph"
                self._console.print(said, soft_wrap=True, highlight=False)

    def _delay_ms(self, row: Row) -> float | None:
        at = self._arrival(row.alert_id, row.frame_id) if row.alert_id is not None else None
        return None if at is None else 1e3 * (at - row.captured)

    def _table(self) -> RenderableType:
        with self._changing:
            rows = list(self._rows)
        ascii_only = self._console.options.ascii_only
        roomy = self._console.width >= ROOMY
        bar = min(WIDEST_BAR, max(NARROWEST_BAR, self._console.width - OTHER_COLUMNS - 8 * roomy))
        padding = (0, 1, 0, 0) if roomy else 0
        table = Table(box=HORIZONTALS, header_style="dim", border_style="dim", padding=padding)
        table.add_column("part", justify="right", width=4)
        table.add_column("verdict", width=7)
        table.add_column(" " * (bar // 2 - 4) + "threshold", width=bar, no_wrap=True)  # above the bars' mark
        table.add_column("score", justify="right", width=5)
        table.add_column("true defect", width=15, no_wrap=True)
        table.add_column("", width=6)
        table.add_column("latency", justify="right", width=7, no_wrap=True)
        table.add_column("over MQTT", width=13, no_wrap=True)
        for row in rows[-max(3, min(MOST_ROWS, self._console.height - AROUND)) :]:
            table.add_row(
                str(row.frame_id + 1),
                _verdict(row),
                _bar(row, bar, ascii_only),
                f"{row.score:.2f}",
                _truth(row),
                Text(row.wrong or "", "bold yellow"),
                f"{row.latency_ms:.0f} ms",
                self._alert(row),
            )
        return Group(self._heading(rows), table, self._count(rows))

    def _heading(self, rows: list[Row]) -> Text:
        return Text.assemble((self._title, "bold"), f"   part {len(rows)} of {self._parts}")

    def _count(self, rows: list[Row]) -> Text:
        sent = [row for row in rows if row.alert_id is not None]
        arrived = sum(self._delay_ms(row) is not None for row in sent)
        wrong = [row.wrong for row in rows]
        said = Text(f"{sum(row.status == 'fail' for row in rows)} rejected")
        for word, count in (("missed", wrong.count("missed")), ("false rejects", wrong.count("false"))):
            said.append("   ").append(f"{count} {word}", "bold yellow" if count else "green")
        return said.append(f"   alerts: {len(sent)} sent, {arrived} arrived")

    def _alert(self, row: Row) -> Text:
        if row.alert_id is None:
            return Text()
        delay = self._delay_ms(row)
        if delay is None:
            return Text(f"{_short(row.alert_id)} on its way"[:13], "dim")
        return Text.assemble((_short(row.alert_id), "cyan"), f" {delay:.0f} ms")


def _line(row: Row) -> Text:
    said = Text.assemble(f"part {row.frame_id + 1:4d}  ", _verdict(row))
    said.append(f"  score {row.score:6.2f} of {row.threshold:.2f}  {row.latency_ms:5.0f} ms")
    if row.defect is not None:
        said.append(f"  {_truth(row)}")
    if row.wrong is not None:
        said.append(f"  ({row.wrong})", "bold yellow")
    return said


def _verdict(row: Row) -> Text:
    return Text("PASS", "bold green") if row.status == "pass" else Text("FAIL", "bold red")


def _truth(row: Row) -> Text:
    if row.defect is None:
        return Text("none", "dim")
    return Text.assemble(row.defect, (f" {HOW[row.severity]}", "dim"))


def _bar(row: Row, width: int, ascii_only: bool) -> Text:
    """The score as a bar that ends at twice the threshold, and the threshold in its middle."""
    full, empty, mark = ("=", " ", "|") if ascii_only else ("━", "─", "┃")
    middle = width // 2
    filled = round(min(row.score / row.threshold / 2, 1.0) * width)
    filled = min(filled, middle) if row.status == "pass" else max(filled, middle + 2)  # a close call still shows
    colour = "green" if row.status == "pass" else "red"
    bar = Text()
    for k in range(width):
        if k == middle:
            bar.append(mark, "bold")
        else:
            bar.append(full if k < filled else empty, colour if k < filled else "dim")
    return bar


def _short(alert_id: str | None) -> str:
    return (alert_id or "")[:6]
