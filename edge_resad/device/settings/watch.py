"""From where on a camera is ill."""

from __future__ import annotations

from pydantic import Field, model_validator

from edge_resad.sections import Section


class WatchSection(Section):
    """From where on a camera is ill. A picture that is black, white, frozen or of another size is not judged."""

    black: int = Field(default=8, ge=0, le=255, description="gray level: a picture with nothing brighter is black")
    white: int = Field(default=251, ge=0, le=255, description="gray level: a picture with nothing darker is white")
    dark: int = Field(default=20, ge=0, le=255, description="gray level: a picture with nothing brighter is too dark")
    bright: int = Field(
        default=240, ge=0, le=255, description="gray level: a picture with nothing darker is too bright"
    )
    blur: float = Field(
        default=0.3, ge=0, le=1, description="of the product's usual sharpness: less is blurred; 0 watches no blur"
    )
    frozen_s: float = Field(
        default=1.0, ge=0, description="the same picture of a camera for so long is frozen; 0 watches nothing"
    )
    silent_s: float = Field(
        default=1.5, ge=0, description="a camera without a picture for so long hangs; 0 waits for ever"
    )

    @model_validator(mode="after")
    def _in_order(self) -> WatchSection:
        if not self.black <= self.dark < self.bright <= self.white:
            raise ValueError(
                f"black, dark, bright, white are {self.black}, {self.dark}, {self.bright}, {self.white}. "
                "Each must be at least as large as the one before it"
            )
        return self
