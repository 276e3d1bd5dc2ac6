"""The products of a station that has recipes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edge_resad.device.settings.section import FilePath, Section


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

    @model_validator(mode="after")
    def _can_read(self) -> ProductsSection:
        if self.code_needed and self.code == "off":
            raise ValueError('code_needed is true and code is "off". Set code to what is on the parts')
        return self
