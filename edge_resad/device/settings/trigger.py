"""When a part is there, and which of a camera's pictures is judged for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_resad.device.gpio_trigger import Edge, Pull
from edge_resad.device.presence_trigger import Moment
from edge_resad.sections import Section

TriggerKind = Literal["free", "software", "gpio", "camera", "presence"]


class TriggerSection(Section):
    """When a part is there. Without this section every picture is a part, and of those that wait the newest wins."""

    kind: TriggerKind = Field(default="free", description="what tells that a part is there")
    queue: int = Field(
        default=8, ge=1, le=1000, description="all but free: parts that may wait for the inspection with their pictures"
    )
    wait_ms: float = Field(
        default=500.0, gt=0, le=60_000, description="software, gpio: how long a part waits for its picture"
    )
    delay_ms: float = Field(
        default=0.0, ge=0, le=60_000, description="software, gpio: from the trigger until the camera sees the part"
    )
    capture_ms: float | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="software, gpio: from the beginning of an exposure until the picture is there; none: since the "
        "picture before",
    )
    chip: str = Field(default="/dev/gpiochip0", min_length=1, description="gpio: the pin's chip")
    line: Annotated[int, Field(ge=0)] | str | None = Field(
        default=None, description="gpio: the pin's number on its chip, or its name"
    )
    edge: Edge = Field(default="rising", description="gpio: what the pin does when a part is there")
    pull: Pull = Field(default="as-is", description="gpio: the resistor that holds the pin when nothing drives it")
    debounce_us: int = Field(
        default=1000, ge=0, le=500_000, description="gpio: microseconds that the pin must be steady"
    )
    area: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None,
        description="presence: the piece of the picture that is watched, [x, y, width, height]; none: all of it",
    )
    least_change: float = Field(
        default=0.02, gt=0, le=1, description="presence: share of the area that a part covers at least"
    )
    settle: int = Field(
        default=5, ge=2, le=1000, description="presence: pictures in a row on which a part rests before it is judged"
    )
    moment: Moment = Field(
        default="either", description="presence: judged when it rests, when it passes the middle, or what comes first"
    )

    @model_validator(mode="after")
    def _can_trigger(self) -> TriggerSection:
        if self.kind == "gpio" and self.line is None:
            raise ValueError('line is missing, and kind is "gpio". Set it to the pin\'s number on its chip')
        if self.area is not None and (len(self.area) != 4 or 0 in self.area[2:]):
            raise ValueError(
                f"area is {self.area}, expected [x, y, width, height] in pixels such as [0, 100, 640, 200]"
            )
        return self

    @property
    def is_told(self) -> bool:
        """Whether somebody outside says that a part is there."""
        return self.kind in ("software", "gpio")
