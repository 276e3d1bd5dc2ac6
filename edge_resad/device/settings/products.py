"""The products of a station that has recipes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edge_resad.sections import FilePath, Section


class ScheduleSection(Section):
    """A product that is put to use at a time of every day. There may be several, as [[products.schedule]]."""

    at: str = Field(description="hour and minute of this machine's zone, such as 06:00")
    use: str = Field(min_length=1, description="the product, as for `edge-resad product use`")

    @model_validator(mode="after")
    def _is_a_time(self) -> ScheduleSection:
        if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", self.at):
            raise ValueError(f'at is "{self.at}", expected hours and minutes such as "06:00"')
        return self


class ProductsSection(Section):
    """Products with recipes, instead of one bank."""

    folder: FilePath = Field(description="the products' folder, made by `edge-resad product new`")
    use: str | None = Field(
        default=None, description="the product to begin with, while `edge-resad product use` has named none"
    )
    code: Literal["off", "qr", "barcode"] = Field(
        default="off", description="a code on the part that names its product is read from the picture"
    )
    code_needed: bool = Field(
        default=False, description="a part whose code is not found is not inspected; false: its product is that before"
    )

    schedule: Annotated[tuple[ScheduleSection, ...], Field(strict=False)] = Field(
        default=(), description="which product is put to use at which time of the day"
    )

    @model_validator(mode="before")
    @classmethod
    def _has_what_the_schedule_names(cls, told: Any) -> Any:
        if isinstance(told, dict) and "schedule" in told and "folder" not in told:
            raise ValueError(
                "schedule is set and folder is missing. A schedule puts products of that folder to use: set [products] "
                "folder to the one that edge-resad product new has made"
            )
        return told

    @model_validator(mode="after")
    def _can_read(self) -> ProductsSection:
        if self.code_needed and self.code == "off":
            raise ValueError('code_needed is true and code is "off". Set code to what is on the parts')
        return self
