"""Small charts as inline SVG, drawn by hand: their colours are the page's, so they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 560, 190  # user units of a chart
LEFT, RIGHT, TOP, BOTTOM = 14, 14, 30, 34
SQUARE = 300  # user units of a chart of curves
NARROW = 380  # user units of a chart of lanes
NAME = 18  # of a lane's height, above its dots, for its name
LETTER, APART = 6.8, 14  # width of a mark's letter, and what two marks' names leave between them


def histogram(values: Sequence[float], marks: Sequence[tuple[str, float]], *, unit: str, bins: int = 40) -> str:
    """How often each value came, and vertical marks with their names."""
    if not values:
        return _nothing("nothing was measured")
    top = max(float(np.percentile(values, 99.5)), *(at for _, at in marks)) * 1.08 or 1.0
    low = min(values) * 0.92
    counts, edges = np.histogram(np.minimum(values, top), bins=bins, range=(low, max(top, low + 1e-6)))
    scale = (HEIGHT - TOP - BOTTOM) / max(int(counts.max()), 1)
    bars = []
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            x, tall = _x(start, low, top), max(count * scale, 1.5)
            bars.append(
                f'<rect class="bar" x="{x:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}" '
                f'width="{max(_x(end, low, top) - x - 1.2, 1):.1f}" height="{tall:.1f}" rx="1.5"/>'
            )
    lines = _marks([(f"{name} {_short(at)} {unit}", at) for name, at in marks], low, top)
    return _chart("".join(bars) + lines + _axis(low, top, unit), f"{len(values)} values, in {unit}")


def strips(rows: Sequence[tuple[str, Sequence[float], str]], threshold: float, *, unit: str) -> str:
    """One row of dots for each (name, values, class of the dots), and the threshold across them."""
    every = [value for _, values, _ in rows for value in values]
    if not every:
        return _nothing("no part was judged")
    low, top = min(0.0, *every), max(max(every), threshold) * 1.06
    lane = (HEIGHT - TOP - BOTTOM) / len(rows)
    jitter = np.random.default_rng(3)  # the same page for the same run
    drawn = []
    for k, (name, values, look) in enumerate(rows):
        top_of_dots, tall = TOP + lane * k + NAME, lane - NAME - 3
        middle = top_of_dots + tall / 2
        heights = jitter.uniform(-0.32, 0.32, len(values)) * tall
        drawn.append(
            f'<rect class="lane" x="{LEFT}" y="{top_of_dots:.1f}" '
            f'width="{WIDTH - LEFT - RIGHT}" height="{tall:.1f}" rx="6"/>'
        )
        drawn.append(f'<text class="lane-name" x="{LEFT}" y="{top_of_dots - 5:.1f}">{escape(name)}</text>')
        for value, away in zip(values, heights, strict=True):
            wrong = " wrong" if (value >= threshold) != (look == "bad") else ""
            at = _x(value, low, top)
            drawn.append(f'<circle class="dot {look}{wrong}" cx="{at:.1f}" cy="{middle + away:.1f}" r="3.6"/>')
    line = _marks([(f"threshold {_short(threshold)}", threshold)], low, top)
    return _chart("".join(drawn) + line + _axis(low, top, unit), f"{len(every)} parts by {unit}")


def lanes(rows: Sequence[tuple[str, Sequence[float], str]], *, unit: str, bins: int = 36, height: int = HEIGHT) -> str:
    """One histogram above the other for each (name, values, class of the bars), over the same axis.

    Every lane is as high as its own largest bar.
    """
    every = [value for _, values, _ in rows for value in values]
    if not every:
        return _nothing("no part was judged")
    low, top = min(every), max(every)
    low, top = low - 0.02 * (top - low), max(top + 0.02 * (top - low), low + 1e-6)
    lane = (height - BOTTOM) / len(rows)
    drawn = []
    for k, (name, values, look) in enumerate(rows):
        base = lane * (k + 1)
        counts, edges = np.histogram(values, bins=bins, range=(low, top))
        scale = (lane - 24) / max(int(counts.max()), 1)
        for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
            if count:
                x, tall = _x(float(start), low, top, NARROW), max(float(count) * scale, 1.5)
                wide = max(_x(float(end), low, top, NARROW) - x - 1.0, 1)
                drawn.append(
                    f'<rect class="bar {look}" x="{x:.1f}" y="{base - tall:.1f}" width="{wide:.1f}" '
                    f'height="{tall:.1f}" rx="1.5"/>'
                )
        drawn.append(f'<line class="axis" x1="{LEFT}" x2="{NARROW - RIGHT}" y1="{base:.1f}" y2="{base:.1f}"/>')
        drawn.append(
            f'<text class="lane-name" x="{NARROW - RIGHT}" y="{base - lane + 15:.1f}" text-anchor="end">'
            f"{escape(name)}, {len(values)}</text>"
        )
    axis = _axis(low, top, unit, width=NARROW, height=height)
    return _chart("".join(drawn) + axis, f"{len(every)} parts by {unit}", width=NARROW, height=height)


def trend(
    values: Sequence[float], shares: Sequence[float] = (), *, usual: tuple[float, float] | None = None, unit: str
) -> str:
    """Values in order over a band of what is usual (lowest, highest), and below them shares of a limit, which is 1.

    shares: as many as there are values, or none.
    """
    if len(values) < 2:
        return _nothing("nothing to draw yet")
    base, foot = HEIGHT - BOTTOM - (36 if shares else 0), HEIGHT - 10
    every = [*values, *(usual or ())]
    low, top = min(every), max(every)
    pad = 0.08 * (top - low) or 0.01 * abs(top) or 1.0
    low, top = low - pad, top + pad

    def height(value: float) -> float:
        return float(base - (base - TOP) * (value - low) / (top - low))

    xs = [_x(index, 0, len(values) - 1) for index in range(len(values))]
    drawn = []
    if usual is not None:
        y, below = height(usual[1]), height(usual[0])
        drawn.append(
            f'<rect class="lane" x="{LEFT}" y="{y:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{below - y:.1f}"/>'
        )
    for value in (values[0], values[-1]):
        x, anchor = (LEFT, "start") if value is values[0] else (WIDTH - RIGHT, "end")
        drawn.append(
            f'<text class="tick" x="{x}" y="{TOP - 12}" text-anchor="{anchor}">{_short(value)} {escape(unit)}</text>'
        )
    points = " ".join(f"{x:.1f},{height(value):.1f}" for x, value in zip(xs, values, strict=True))
    drawn.append(f'<polyline class="trend" points="{points}"/>')
    if not shares:
        drawn.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
        return _chart("".join(drawn), f"{len(values)} points, in {unit}")
    full = foot - base - 14  # height of what is at its limit
    drawn.append(
        f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{foot - full:.1f}" y2="{foot - full:.1f}"/>'
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{foot}" y2="{foot}"/>'
    )
    sums = " ".join(f"{x:.1f},{foot - full * min(share, 1.2):.1f}" for x, share in zip(xs, shares, strict=True))
    drawn.append(f'<polyline class="sum" points="{sums}"/>')
    return _chart("".join(drawn), f"{len(values)} points, in {unit or 'times'}")


Line = tuple[Sequence[float], Sequence[float], str]
"""x, y and the class of one line of `curves`; y is 0..1."""


def curves(lines: Sequence[Line], *, x_name: str, y_name: str, x_top: float = 1.0, chance: bool = False) -> str:
    """Lines over a square from 0 to `x_top` and from 0 to 1; with `chance`, the diagonal that guessing gives."""
    if not lines:
        return _nothing("nothing to compare")
    left, top, side = 34, 26, SQUARE - 34 - 14
    drawn = []
    for k in range(6):
        at, name = k * side / 5, _short(k / 5)
        drawn.append(
            f'<line class="axis" x1="{left}" x2="{left + side}" y1="{top + side - at:.1f}" y2="{top + side - at:.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{top + side - at + 4:.1f}" text-anchor="end">{name}</text>'
            f'<text class="tick" x="{left + at:.1f}" y="{top + side + 16}" text-anchor="middle">'
            f"{_short(x_top * k / 5)}</text>"
        )
    if chance:
        drawn.append(f'<line class="chance" x1="{left}" y1="{top + side}" x2="{left + side}" y2="{top}"/>')
    for xs, ys, look in lines:
        points = " ".join(
            f"{left + side * x / x_top:.1f},{top + side * (1 - y):.1f}" for x, y in zip(xs, ys, strict=True)
        )
        drawn.append(f'<polyline class="line {look}" points="{points}"/>')
    drawn.append(
        f'<text class="tick" x="{left + side}" y="{top + side + 31}" text-anchor="end">{escape(x_name)}</text>'
        f'<text class="tick" x="{left}" y="{top - 12}">{escape(y_name)}</text>'
    )
    return _chart("".join(drawn), f"{y_name} over {x_name}", width=SQUARE, height=top + side + 36)


def _x(value: float, low: float, top: float, width: int = WIDTH) -> float:
    return LEFT + (width - LEFT - RIGHT) * (value - low) / max(top - low, 1e-9)


def _marks(marks: Sequence[tuple[str, float]], low: float, top: float) -> str:
    drawn = []
    taken = -1e9  # how far the name before this one reaches
    for name, at in sorted(marks, key=lambda mark: mark[1]):
        x, wide = _x(at, low, top), LETTER * len(name)
        late = x + 5 + wide > WIDTH + RIGHT  # no room to the right of its line
        begins = x - 5 - wide if late else x + 5
        shift = 13 if begins < taken + APART else 0  # two names that would collide stand on two lines
        taken = begins + wide
        drawn.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10 + shift}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="mark-name" x="{x + (-5 if late else 5):.1f}" y="{TOP - 13 + shift}" '
            f'text-anchor="{"end" if late else "start"}">{escape(name)}</text>'
        )
    return "".join(drawn)


def _axis(low: float, top: float, unit: str, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    base = height - BOTTOM
    drawn = [f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{base}" y2="{base}"/>']
    step = _step((top - low) / 6)
    tick = np.ceil(low / step) * step
    while tick <= top:
        drawn.append(
            f'<text class="tick" x="{_x(float(tick), low, top, width):.1f}" y="{base + 15}" text-anchor="middle">'
            f"{_short(float(tick))}</text>"
        )
        tick += step
    drawn.append(f'<text class="tick" x="{width - RIGHT}" y="{base + 30}" text-anchor="end">{escape(unit)}</text>')
    return "".join(drawn)


def _step(rough: float) -> float:
    """The round number nearest above: 1, 2 or 5 times a power of ten."""
    power = float(10.0 ** np.floor(np.log10(max(rough, 1e-9))))
    return next((power * k for k in (1.0, 2.0, 5.0) if power * k >= rough), power * 10)


def _short(value: float) -> str:
    return f"{value + 0.0:.3g}"


def _chart(inside: str, says: str, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(says)}">{inside}</svg>'


def _nothing(why: str) -> str:
    return f'<p class="nothing">{escape(why)}</p>'
