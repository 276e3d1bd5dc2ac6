"""What an evaluation found, for a file and for a screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_resad.bundle import Precision
from edge_resad.evaluation.protocol import METRICS, SEVERITY_METRICS, ClassResult, Results, SeedResult
from edge_resad.page import plural

HEADINGS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1max": "image F1max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1max": "pixel F1max",
    "aupro": "AUPRO",
    "aupimo": "AUPIMO",
    "concordance": "concordance",
    "kendall_tau_b": "Kendall tau-b",
    "concordance_defective": "concordance of defects",
}


def as_json(results: Results | Mapping[str, Results], bundle: str, precision: Precision) -> dict[str, Any]:
    """Fractions between 0 and 1, null where a metric is not defined; ready for `json.dumps`.

    Of several named results: their figures by name, under `heads`.

    bundle:    which bundle was judged: its name or hash.
    precision: which of its precisions, such as "fp32".
    """
    judged = {"bundle": bundle, "precision": precision}
    if isinstance(results, Results):
        return {**_figures(results), **judged}
    return {"heads": {name: _figures(one) for name, one in results.items()}, **judged}


def _figures(results: Results) -> dict[str, Any]:
    return {
        "classes": {one.name: _class(one) for one in results.classes},
        "mean": {metric: results.mean(metric) for metric in METRICS},
        "severity": _severity(results),
    }


def as_table(results: Results | Mapping[str, Results]) -> Table:
    """Percent, mean ± standard deviation over the seeds; below it what a reader of the numbers has to know.

    Of several named results, such as two heads of one bundle: a row for every metric of a class, their figures beside
    each other, each followed by what it is more or less than the first.
    """
    every = named(results)
    notes = list(dict.fromkeys(note for one in every.values() for note in one.notes))
    table = Table(
        title=title(every) + ", percent",
        caption=Text("\n".join(notes)) if notes else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("class", overflow="fold")
    table.add_column("good + bad", justify="right")
    if len(every) == 1:
        _fill(table, *every.values())
    else:
        _fill_beside(table, every)
    return table


def named(results: Results | Mapping[str, Results]) -> dict[str, Results]:
    """Name -> results; a single one has no name. ValueError where there is none."""
    every = {"": results} if isinstance(results, Results) else dict(results)
    if not every:
        raise ValueError("a report needs at least one result")
    return every


def title(every: Mapping[str, Results]) -> str:
    """How it was measured: references and draws."""
    return " and ".join(
        dict.fromkeys(
            f"{one.shots} {plural('reference', one.shots)}, {len(one.seeds)} {plural('draw', len(one.seeds))}"
            for one in every.values()
        )
    )


def shown_metrics(every: Mapping[str, Results]) -> tuple[str, ...]:
    """All metrics; those of severity only where somebody graded parts."""
    graded = any(one.mean(metric) is not None for one in every.values() for metric in SEVERITY_METRICS)
    return METRICS + SEVERITY_METRICS if graded else METRICS


def class_names(every: Mapping[str, Results]) -> tuple[str, ...]:
    """Of every result, each once."""
    return tuple(dict.fromkeys(one.name for results in every.values() for one in results.classes))


def rows_named(every: Mapping[str, Results], name: str | None) -> list[ClassResult | Results | None]:
    """One class of every result, None where it was not measured; the mean over classes where the name is None."""
    if name is None:
        return list(every.values())
    return [next((one for one in results.classes if one.name == name), None) for results in every.values()]


def percent(row: ClassResult | Results | None, metric: str) -> str:
    """Mean ± standard deviation over the draws."""
    value, over_draws = (row.mean(metric), row.spread(metric)) if row else (None, None)
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if over_draws is None else f"{100 * value:.1f} ± {100 * over_draws:.1f}"


def difference(row: ClassResult | Results | None, first: ClassResult | Results | None, metric: str) -> float | None:
    """How much the mean is above that of the first, in percentage points."""
    here, there = (one.mean(metric) if one else None for one in (row, first))
    return None if here is None or there is None else 100 * (here - there)


def points(value: float | None) -> str:
    """A difference, with its sign."""
    return "" if value is None else f"{value:+.1f}"


def _fill(table: Table, results: Results) -> None:
    metrics = shown_metrics({"": results})
    for metric in metrics:
        table.add_column(HEADINGS[metric], justify="right", min_width=6)
    for one in results.classes:
        cells = [percent(one, metric) for metric in metrics]
        table.add_row(Text(one.name), f"{one.good} + {one.defective}", *cells)
    if len(results.classes) > 1:
        table.add_section()
        table.add_row("mean", "", *(percent(results, metric) for metric in metrics), style="bold")


def _fill_beside(table: Table, every: Mapping[str, Results]) -> None:
    table.add_column("metric")
    for place, column in enumerate(every):
        table.add_column(Text(column), justify="right")
        if place:
            table.add_column("difference", justify="right")
    names = class_names(every)
    blocks: list[str | None] = [*names, None] if len(names) > 1 else [*names]
    for name in blocks:
        rows = rows_named(every, name)
        counts = next((f"{one.good} + {one.defective}" for one in rows if isinstance(one, ClassResult)), "")
        table.add_section()
        for place, metric in enumerate(shown_metrics(every)):
            cells = [percent(rows[0], metric)]
            for row in rows[1:]:
                cells += [percent(row, metric), points(difference(row, rows[0], metric))]
            heading = ("", "") if place else (name or "mean", counts)
            table.add_row(Text(heading[0]), heading[1], HEADINGS[metric], *cells)


def _class(one: ClassResult) -> dict[str, Any]:
    return {
        **{metric: one.mean(metric) for metric in METRICS},
        "severity": _severity(one),
        "seeds": [_seed(draw) for draw in one.seeds],
        "test_images": {
            "good": one.good,
            "defective": one.defective,
            "with_mask": one.with_mask,
            "references": one.references,
        },
    }


def _seed(draw: SeedResult) -> dict[str, Any]:
    return {
        "seed": draw.seed,
        **{metric: draw.metric(metric) for metric in METRICS},
        "severity": {metric: draw.metric(metric) for metric in SEVERITY_METRICS} if draw.severity else None,
        "seconds": draw.seconds,
    }


def _severity(row: ClassResult | Results) -> dict[str, float | None] | None:
    values = {metric: row.mean(metric) for metric in SEVERITY_METRICS}
    return values if any(value is not None for value in values.values()) else None
