"""What is charted of a line: the scores of good parts, light, focus, and where parts lie."""

from __future__ import annotations

from edge_resad.device.drift.chart import Figure

FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            name="scores", fault="drifting_scores", is_ratio=True, floor=0.02,
            up="good parts score higher", down="good parts score lower",
        ),
        Figure(
            name="light", fault="drifting_light", is_ratio=True, floor=0.02,
            up="pictures are brighter", down="pictures are darker",
        ),
        Figure(
            name="focus", fault="drifting_focus", is_ratio=True, floor=0.04,
            up="pictures are sharper", down="pictures are less sharp",
        ),
        Figure(
            name="shift_x", fault="drifting_position", is_ratio=False, floor=0.5,
            up="parts lie further to the right", down="parts lie further to the left", unit="px",
        ),
        Figure(
            name="shift_y", fault="drifting_position", is_ratio=False, floor=0.5,
            up="parts lie further down", down="parts lie further up", unit="px",
        ),
        Figure(
            name="turn", fault="drifting_position", is_ratio=False, floor=0.1,
            up="parts are turned clockwise", down="parts are turned anticlockwise", unit="degrees",
        ),
        Figure(
            name="likeness", fault="drifting_position", is_ratio=False, floor=0.005,
            up="parts look more like the reference picture", down="parts look less like the reference picture",
        ),
    )
}  # fmt: skip
"""By name. Floors are what a line may change by before anybody should care: 2 % of light, half a pixel."""

ADVICE: dict[str, str] = {
    "drifting_scores": "Look at light, lens and camera, and at the parts themselves",
    "drifting_light": "Check the lamps, the exposure and what else shines on the line",
    "drifting_focus": "Clean the lens and check the focus",
    "drifting_position": "Check that camera and fixture sit tight",
    "reject_rate": "Look at the rejects: either the parts have changed or what is judged by",
    "unlike_enrolment": "Show good parts as the line shows them now: enrol again, or estimate the threshold again",
}
"""What to do about each fault."""

ARMS = 2 * len(FIGURES) + 1
"""Sums that may raise a false alarm: two of every figure, and that of rejects. They share the rate that is stated."""
