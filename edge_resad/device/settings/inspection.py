"""What a station takes for a defect, and when it raises an alert."""

from __future__ import annotations

from pydantic import Field, model_validator

from edge_resad.sections import FilePath, Section


class InspectionSection(Section):
    """What is a defect, and how many failed parts make an alert."""

    bank: FilePath | None = Field(
        default=None, description="the product's reference bank, made by `edge-resad enrol`; or set [products] folder"
    )
    bundle: FilePath | None = Field(default=None, description="without it: the bundle that comes with the package")
    threshold: float | None = Field(default=None, gt=0, description="without it: the bank's own")
    min_area_px: int = Field(default=0, ge=0, description="smallest defect that counts, in pixels of the camera")
    debounce_k: int = Field(default=1, ge=1, description="an alert needs this many failed parts ...")
    debounce_n: int = Field(default=1, ge=1, description="... among this many, the last ones")
    max_age_s: float = Field(
        default=1.0, gt=0, description="a frame of a live camera older than this is counted, not judged"
    )

    @model_validator(mode="after")
    def _can_alert(self) -> InspectionSection:
        if self.debounce_k > self.debounce_n:
            raise ValueError(
                f"debounce_k is {self.debounce_k} and debounce_n is {self.debounce_n}: "
                f"{self.debounce_k} parts can never fail among {self.debounce_n}. Set debounce_n to at least "
                f"{self.debounce_k}"
            )
        return self
