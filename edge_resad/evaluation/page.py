"""An evaluation as one HTML page: tables, curves, scores and the parts worth a look, with all pictures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad import charts
from edge_resad.datasets.masks import read_mask
from edge_resad.evaluation.cases import Case
from edge_resad.evaluation.metrics import FALSE_POSITIVE_LIMIT
from edge_resad.evaluation.protocol import METRICS, SEVERITY_METRICS, ClassResult, Results, SeedResult
from edge_resad.evaluation.report import (
    HEADINGS,
    class_names,
    difference,
    named,
    percent,
    points,
    rows_named,
    shown_metrics,
    title,
)
from edge_resad.image import read_image
from edge_resad.overlay import heat_overlay
from edge_resad.page import data_uri, fitted, marked, plural, whole, write_page

TABLES = {
    "Detection": ("Is the part defective? Every test image counts once.", METRICS[:3]),
    "Localisation": ("Where is the defect? Images with a mask, and good ones.", METRICS[3:]),
    "Severity": ("Does a worse defect get a higher score? Parts that somebody graded.", SEVERITY_METRICS),
}
CASES = {
    "best": "Highest score of the defects",
    "median": "Middle score of the defects",
    "worst": "Lowest score of the defects",
    "highest good": "Highest score of the good parts",
}
PICTURE_SIDE = 140  # pixels, as shown
SCORES_HEIGHT = 288  # user units of the chart of scores
PICTURE_QUALITY = 78


def write_report(results: Results | Mapping[str, Results], path: Path, *, about: str = "") -> Path:
    """Write the page to this path, whole or not at all, and return the path. Arguments as for `render`.

    Raises:
        EdgeResadError: the page cannot be written there, or a test image is not there any more.
    """
    return write_page(render(results, about=about), path)


def render(results: Results | Mapping[str, Results], *, about: str = "") -> str:
    """The whole page as HTML.

    results: of one evaluation, or of several by name: their figures stand beside each other, with the difference to
             the first.
    about:   a sentence on what was judged, for the foot of the page.
    """
    every = named(results)
    parts = [_header(every), _tiles(every), *_tables(every)]
    parts += [_class(name, every) for name in class_names(every)]
    parts.append(_footer(about))
    return whole(f"edge-resad evaluation, {title(every)}", "\n".join(parts), STYLE)


def _header(every: Mapping[str, Results]) -> str:
    first = next(iter(every.values()))
    good, bad = sum(one.good for one in first.classes), sum(one.defective for one in first.classes)
    classes = len(class_names(every))
    heading = title(every) if len(every) == 1 else " beside ".join(every)
    counts = f"{classes} {'class' if classes == 1 else 'classes'}, {good} good and {bad} defective test "
    counts += plural("image", good + bad)
    measured = counts if len(every) == 1 else f"{title(every)}. {counts}"
    legend = "".join(f'<span class="key s{k % 4}">{escape(name)}</span>' for k, name in enumerate(every))
    return (
        f'<header><p class="brand">edge-resad <span>evaluation</span></p><h1>{escape(heading)}</h1>'
        f'<p class="lead">{measured}. Figures are percent, means over the draws of references.</p>'
        + (f'<p class="legend">{legend}</p>' if len(every) > 1 else "")
        + "</header>"
    )


def _tiles(every: Mapping[str, Results]) -> str:
    names, rows = list(every), list(every.values())
    tiles = []
    for metric in METRICS:
        value = rows[-1].mean(metric)
        shown = "&ndash;" if value is None else f"{100 * value:.1f}"
        change = points(difference(rows[-1], rows[0], metric)) if len(rows) > 1 else ""
        tiles.append(f'<div class="tile"><b>{shown}<small> {change}</small></b><span>{HEADINGS[metric]}</span></div>')
    note = f"<p>Means over the classes of {escape(names[-1])}, beside {escape(names[0])}.</p>" if len(rows) > 1 else ""
    return f'<section class="means">{note}<div class="tiles">{"".join(tiles)}</div></section>'


def _tables(every: Mapping[str, Results]) -> list[str]:
    shown = shown_metrics(every)
    return [
        f"<section><h2>{name}</h2><p>{note}</p>{_table(every, metrics)}</section>"
        for name, (note, metrics) in TABLES.items()
        if set(metrics) <= set(shown)
    ]


def _table(every: Mapping[str, Results], metrics: Sequence[str]) -> str:
    width = 2 * len(every) - 1
    groups = "".join(f'<th colspan="{width}" scope="colgroup">{HEADINGS[metric]}</th>' for metric in metrics)
    head = f'<tr><th rowspan="{1 if width == 1 else 2}" scope="col">class</th>{groups}</tr>'
    if width > 1:
        columns = "".join(
            f'<th scope="col">{escape(name)}</th>' + ('<th scope="col">diff.</th>' if place else "")
            for place, name in enumerate(every)
        )
        head += f"<tr>{columns * len(metrics)}</tr>"
    names = class_names(every)
    rows = [_row(escape(name), rows_named(every, name), metrics) for name in names]
    if len(names) > 1:
        rows.append(_row("mean", rows_named(every, None), metrics, "mean"))
    look = "wide beside" if width > 1 else "wide"
    return f'<div class="{look}"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, rows: Sequence[ClassResult | Results | None], metrics: Sequence[str], look: str = "") -> str:
    cells = []
    for metric in metrics:
        for place, row in enumerate(rows):
            cells.append(f"<td>{_spread(percent(row, metric))}</td>")
            if place:
                cells.append(_difference(difference(row, rows[0], metric)))
    return f'<tr class="{look}"><th scope="row">{name}</th>{"".join(cells)}</tr>'


def _spread(shown: str) -> str:
    value, _, over_draws = shown.partition(" ± ")
    value = "&ndash;" if value == "-" else value
    return f"{value}<small> ± {over_draws}</small>" if over_draws else value


def _difference(value: float | None) -> str:
    look = "" if value is None or abs(value) < 0.05 else " up" if value > 0 else " down"
    return f'<td class="diff{look}">{points(value)}</td>'


def _class(name: str, every: Mapping[str, Results]) -> str:
    there = {key: row for key, row in zip(every, rows_named(every, name), strict=True) if isinstance(row, ClassResult)}
    notes = dict.fromkeys(note for row in there.values() for note in row.notes)
    said = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    looks = {key: f"s{place % 4}" for place, key in enumerate(every)}
    cards = "".join(
        (f'<h3 class="whose"><span class="key {looks[key]}">{escape(key)}</span></h3>' if key else "")
        + f'<div class="cards">{"".join(_card(case, row) for case in row.cases)}</div>'
        for key, row in there.items()
        if row.cases
    )
    return (
        f'<section class="class"><h2>{escape(name)}</h2><p>{_facts(there)}</p>{said}'
        f'<div class="plots">{_curves(there, looks)}{_scores(there)}</div>{cards}</section>'
    )


def _facts(there: Mapping[str, ClassResult]) -> str:
    """How many images stand behind the figures, and how long it took."""
    one = next(iter(there.values()))
    shown = " or ".join(dict.fromkeys(str(row.references) for row in there.values()))
    most = max(row.references for row in there.values())
    said = f"{shown} good {plural('part', most)} shown. {one.good} good and {one.defective} defective test "
    said += plural("image", one.good + one.defective) + (f", {one.with_mask} with a mask. " if one.defective else ". ")
    times = []
    for name, row in there.items():
        seconds = [draw.seconds for draw in row.seeds if draw.seconds is not None]
        if seconds:
            times.append(f"{escape(name)} {sum(seconds) / len(seconds):.1f} s a draw".strip())
    return said + (", ".join(times) + "." if times else "")


def _curves(there: Mapping[str, ClassResult], looks: Mapping[str, str]) -> str:
    rocs = [(*roc, looks[key]) for key, row in there.items() for draw in row.seeds if (roc := _roc(draw))]
    overlaps: list[charts.Line] = [
        (np.linspace(0, FALSE_POSITIVE_LIMIT, len(draw.overlap)).tolist(), draw.overlap, looks[key])
        for key, row in there.items()
        for draw in row.seeds
        if draw.overlap
    ]
    shown = _figure(
        "ROC", "Defective parts found over good parts sorted out; a line for every draw.",
        charts.curves(rocs, x_name="false positive rate of parts", y_name="true positive rate", chance=True),
    )  # fmt: skip
    if not overlaps:
        return shown
    return shown + _figure(
        "Overlap", "Mean share of each defect that is found over good pixels marked; AUPRO is the area.",
        charts.curves(
            overlaps, x_name="false positive rate of pixels", y_name="per-region overlap", x_top=FALSE_POSITIVE_LIMIT
        ),
    )  # fmt: skip


def _scores(there: Mapping[str, ClassResult]) -> str:
    shown = []
    for key, row in there.items():
        parts = row.seeds[0].parts if row.seeds else ()
        kinds = [
            ("good", [part.score for part in parts if not part.is_defective], "good"),
            ("defective", [part.score for part in parts if part.is_defective], "bad"),
        ]
        height = SCORES_HEIGHT if len(there) == 1 else SCORES_HEIGHT // 2
        chart = charts.lanes([kind for kind in kinds if kind[1]], unit="score", height=height)
        shown.append(_figure(f"Scores {key}".strip(), "Test images of the first draw.", chart))
    return f'<div class="stack">{"".join(shown)}</div>'


def _figure(name: str, note: str, chart: str) -> str:
    return f"<figure><figcaption><h3>{escape(name)}</h3><p>{note}</p></figcaption>{chart}</figure>"


def _roc(draw: SeedResult) -> tuple[list[float], list[float]] | None:
    """False and true positive rates of the parts at every threshold, from (0, 0) to (1, 1)."""
    scores = np.array([part.score for part in draw.parts])
    bad = np.array([part.is_defective for part in draw.parts], bool)
    if not bad.any() or bad.all():
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), order.size - 1)  # equal scores share a threshold
    found, false = np.cumsum(bad[order])[ends], np.cumsum(~bad[order])[ends]
    return [0.0, *(false / false[-1]).tolist()], [0.0, *(found / found[-1]).tolist()]


def _card(case: Case, row: ClassResult) -> str:
    part, photo = case.part, fitted(read_image(case.part.path), PICTURE_SIDE)
    heat = heat_overlay(photo, case.score_map, threshold=row.heat_from or 1.0, polygons=())
    pictures = [("photograph", photo), ("anomaly map", heat)]
    if part.mask is not None:
        pictures.append(("mask", marked(photo, _fitted_mask(read_mask(*part.masks), photo.shape))))
    shown = "".join(
        f'<figure><img src="{data_uri(picture, PICTURE_QUALITY)}" alt="{what}, {escape(part.path.name)}">'
        f"<figcaption>{what}</figcaption></figure>"
        for what, picture in pictures
    )
    return (
        f'<article class="card"><div class="top"><h3>{CASES.get(case.why, case.why)}</h3>'
        f'<span class="badge">{escape(part.defect)}</span></div><div class="shots">{shown}</div>'
        f'<p class="reading"><b>{case.score:.3g}</b> score{_among_others(case, row)}'
        f"<span>{escape(part.path.name)}</span></p></article>"
    )


def _among_others(case: Case, row: ClassResult) -> str:
    """Where the score lies among those of the other kind, in the draw that the case is of."""
    parts = row.seeds[0].parts if row.seeds else ()
    others = [part.score for part in parts if part.is_defective != case.part.is_defective]
    if not others:
        return ""
    beaten = sum(score < case.score for score in others)
    return f", above {beaten} of {len(others)} {'good' if case.part.is_defective else 'defective'}"


def _fitted_mask(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(h, w) of the small photo; a pixel is defective where any of the mask's pixels in it is."""
    small = cv2.resize(mask.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small > 0)


def _footer(about: str) -> str:
    said = f"<p>{escape(about)}</p>" if about else ""
    return (
        f"<footer>{said}<p>Figures are exact over all thresholds, equal scores share one. AUPRO: area under the mean "
        "overlap of 8-connected defects up to a false positive rate of 0.3 of all good pixels, interpolated there. "
        "AUPIMO: mean overlap of an image's defect while 1e-5 to 1e-4 of the pixels of good images are marked, over "
        "that rate's logarithm, then the mean over images. Maps and masks meet at 256 x 256 pixels. "
        "Heat grows from what the maps of half of the good parts reach somewhere. "
        "± is the standard deviation over draws.</p></footer>"
    )


STYLE = """
.means p { margin-bottom: 10px; }
.means .tiles { margin-top: 0; }
.means .tile small { font-size: 14px; }
.legend { margin-top: 14px; display: flex; gap: 18px; }
.key { display: inline-flex; align-items: center; gap: 8px; font-weight: 600; }
.key::before { content: ""; width: 18px; height: 4px; border-radius: 2px; background: currentColor; }
.key.s0 { color: var(--bar); } .key.s1 { color: var(--heat); }
.key.s2 { color: var(--fine); } .key.s3 { color: var(--ink); }
.wide {
  overflow-x: auto; margin-top: 14px; background: var(--sheet); border: 1px solid var(--line); border-radius: 14px;
}
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 8px 10px; text-align: right; white-space: nowrap; }
thead th { color: var(--quiet); font-weight: 600; font-size: 13px; }
thead tr:last-child th { border-bottom: 1px solid var(--line); }
thead th[rowspan] { border-bottom: 1px solid var(--line); vertical-align: bottom; }
thead th[scope=colgroup] { text-align: right; }
th[colspan]:not([colspan="1"]) { text-align: center !important; border-left: 1px solid var(--line); }
th:first-child[scope=row], th[rowspan] { text-align: left; padding-left: 18px; }
tbody th { font-weight: 500; }
tbody tr + tr > * { border-top: 1px solid var(--lane); }
td small { color: var(--quiet); font-size: 12px; }
.beside td small { display: block; line-height: 1.2; }
.beside th, .beside td { padding: 7px 5px; }
.beside th:first-child[scope=row], .beside th[rowspan] { padding-left: 18px; }
th:last-child, td:last-child { padding-right: 18px; }
.beside thead tr:last-child th { white-space: normal; vertical-align: bottom; }
tr.mean > * { font-weight: 680; border-top: 1px solid var(--line) !important; }
.diff { color: var(--quiet); }
.diff.up { color: var(--fine); }
.diff.down { color: var(--alarm); }
.class { border-top: 1px solid var(--line); padding-top: 30px; }
.note { color: var(--alarm) !important; font-size: 13px; margin-top: 4px; }
.plots { display: grid; grid-template-columns: 1fr 1fr 1.35fr; gap: 18px; margin-top: 16px; align-items: start; }
.plots figure {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 14px; padding: 16px 18px 8px;
  break-inside: avoid;
}
.plots figcaption p { font-size: 13px; min-height: 3em; }
.stack { display: grid; gap: 18px; }
.stack figcaption p { min-height: 0; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-opacity: 0.85; }
.line.s0 { stroke: var(--bar); } .line.s1 { stroke: var(--heat); }
.line.s2 { stroke: var(--fine); } .line.s3 { stroke: var(--ink); }
.chance { stroke: var(--quiet); stroke-dasharray: 3 4; stroke-opacity: 0.6; }
.bar.good { fill: var(--fine); }
.bar.bad { fill: var(--heat); }
.whose { margin-top: 18px; }
.class .cards { grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); }
.class .card .top h3 { font-size: 15px; }
.class .shots img { aspect-ratio: 1; object-fit: contain; background: var(--lane); }
@media (max-width: 900px) { .plots { grid-template-columns: 1fr; } .class .cards { grid-template-columns: 1fr; } }
"""
