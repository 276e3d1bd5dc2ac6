"""The view: what the station says, as pieces of the page that change by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import jinja2
from markupsafe import Markup

PIECES = ("lights", "notices", "verdict", "figures", "rejects", "actions", "details")
"""What is replaced on a page that is open, in the page's order; each has a template of its name."""

Mood = Literal["pass", "fail", "not_inspected", "bypass", "waiting", "away"]

WORDS: dict[Mood, str] = {
    "pass": "PASS",
    "fail": "FAIL",
    "not_inspected": "NOT INSPECTED",
    "bypass": "BYPASS",
    "waiting": "NO PART YET",
    "away": "NO STATION",
}
REASONS = {
    "too_old": "picture too old",
    "inspector_error": "inspector failed",
    "not_aligned": "part not found where it should lie",
    "wrong_size": "picture of another size",
    "unknown_product": "product unknown",
    "black": "picture black",
    "white": "picture white",
    "frozen": "picture frozen",
    "no_picture": "no picture for the trigger",
    "backlog": "too many parts waiting",
    "bypassed": "bypass",
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the station said, or why it says nothing."""

    status: Mapping[str, Any] | None
    problem: str | None = None

    @property
    def mood(self) -> Mood:
        """What the large word is about."""
        if self.status is None:
            return "away"
        if self.status["bypass"] is not None:
            return "bypass"
        last = self.status["last"]
        mood: Mood = "waiting" if last is None else last["status"]
        return mood


class View:
    """Renders the page and its pieces. Everything that is shown is escaped by the templates."""

    def __init__(self, token: str, station: str) -> None:
        """token: stands in every form. station: the station's file, for the sentence that says how to start it."""
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("edge_resad.live"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"clock": _clock, "percent": _percent, "reason": _reason, "count": _count}
        self._shared = {"token": token, "station_file": station, "words": WORDS}

    def pieces(self, seen: Seen) -> dict[str, str]:
        """Every piece of the page by its name, as HTML."""
        shown = {**self._shared, "seen": seen, "status": seen.status, "mood": seen.mood}
        return {name: self._environment.get_template(f"{name}.html").render(shown) for name in PIECES}

    def page(self, seen: Seen, products: Sequence[Mapping[str, Any]], told: tuple[bool, str] | None) -> str:
        """The whole page. products: name and whether it is in use. told: what became of what was asked last."""
        shown = {**self._shared, "seen": seen, "status": seen.status, "mood": seen.mood, "products": products}
        pieces = {name: Markup(html) for name, html in self.pieces(seen).items()}
        return self._environment.get_template("page.html").render({**shown, "pieces": pieces, "told": told})


def _clock(wall: float) -> str:
    """Hours, minutes and seconds of this machine's zone."""
    return datetime.fromtimestamp(wall).strftime("%H:%M:%S")


def _percent(share: float) -> str:
    """One decimal, and never 100 where something failed."""
    shown = f"{100 * share:.1f}"
    return "> 99.9" if shown == "100.0" and share < 1 else shown


def _reason(reason: str) -> str:
    return REASONS.get(reason, reason.replace("_", " "))


def _count(number: int) -> str:
    """Thousands apart, by a narrow space."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
