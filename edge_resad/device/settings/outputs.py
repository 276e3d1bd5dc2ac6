"""What the station file says of signals to the line: outputs, and the encoders that time them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_resad.messages import Id
from edge_resad.sections import Section

Cause = Literal["fail", "not_inspected", "pass", "fault", "heartbeat"]
"""What makes an output active: what became of a part, a fault as long as it lasts, or that the station judges."""
Pin = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
_OF_GPIO, _OF_MODBUS = ("chip", "pin", "active_low"), ("host", "port", "unit", "coil", "holding_register")


class OutputSection(Section):
    """A signal to the line, such as the one that opens a reject gate."""

    name: Id = Field(description="what it is called; no two outputs share it")
    kind: Literal["gpio", "modbus"] = Field(description="a pin of this machine, or a PLC by Modbus/TCP")
    on: Annotated[tuple[Cause, ...], Field(strict=False)] = Field(
        default=("fail", "not_inspected"), min_length=1, description="what makes it active"
    )
    cameras: Annotated[tuple[Id, ...], Field(strict=False)] = Field(
        default=(), description="whose parts it shows; an empty list: those of all"
    )
    chip: str = Field(default="/dev/gpiochip0", min_length=1, description="gpio: the chip, as `gpiodetect` lists it")
    pin: Pin | None = Field(default=None, description="gpio: the pin's number on the chip or its name, see `gpioinfo`")
    active_low: bool = Field(default=False, description="gpio: active is the low level")
    host: str | None = Field(default=None, min_length=1, description="modbus: name or address of the PLC")
    port: int = Field(default=502, ge=1, le=65535, description="modbus: its port")
    unit: int = Field(default=1, ge=0, le=255, description="modbus: its unit, where a gateway has several behind it")
    coil: int | None = Field(default=None, ge=0, le=65535, description="modbus: address of the coil, from 0")
    holding_register: int | None = Field(
        default=None, ge=0, le=65535, description="modbus: instead of a coil, address of a holding register, from 0"
    )
    pulse_ms: float = Field(
        default=100.0, ge=1, le=60_000, description="how long it is active for a part; half a period of a heartbeat"
    )
    delay_ms: float = Field(
        default=0.0, ge=0, le=600_000, description="from the picture to the pulse; 0: as soon as there is a verdict"
    )
    delay_counts: int | None = Field(
        default=None, ge=1, le=999_999, description="instead of delay_ms, counts of the encoder from the picture on"
    )
    encoder: Id | None = Field(default=None, description="whose counts; without it: those of the only encoder")
    safe: Literal["reject", "idle"] | None = Field(
        default=None,
        description="level while nobody judges: reject is active; without it reject, of a pass or heartbeat idle",
    )

    @property
    def safe_active(self) -> bool:
        """Whether the output is active while nobody judges."""
        return self.safe == "reject" if self.safe is not None else not {"pass", "heartbeat"} & {*self.on}

    @model_validator(mode="after")
    def _can_be_wired(self) -> OutputSection:
        _one_kind(self, self.kind, _OF_GPIO, _OF_MODBUS)
        if self.kind == "gpio" and self.pin is None:
            raise ValueError("pin is missing. Set it to the pin's number on the chip, or its name")
        if self.kind == "modbus" and (self.host is None or (self.coil is None) == (self.holding_register is None)):
            raise ValueError("needs a host, and either coil or holding_register. Set them")
        return self

    @model_validator(mode="after")
    def _means_one_thing(self) -> OutputSection:
        if "heartbeat" in self.on and len(self.on) > 1:
            raise ValueError('on has "heartbeat" beside others. Give the heartbeat an output of its own')
        if "pass" in self.on and {"fail", "not_inspected", "fault"} & {*self.on}:
            raise ValueError('on has "pass" beside what is to be rejected. Give "pass" an output of its own')
        if self.safe == "reject" and {"pass", "heartbeat"} & {*self.on}:
            raise ValueError(f'safe is "reject", which would be a {self.on[0]} while nobody judges. Set safe = "idle"')
        if self.delay_counts is not None and "delay_ms" in self.model_fields_set:
            raise ValueError("delay_ms and delay_counts are both set. Remove one of them")
        if self.encoder is not None and self.delay_counts is None:
            raise ValueError("encoder is set without delay_counts. Set delay_counts, or remove encoder")
        return self


class EncoderSection(Section):
    """How far the belt has moved, for outputs with delay_counts."""

    name: Id = Field(default="belt", description="what it is called; no two encoders share it")
    kind: Literal["gpio", "modbus"] = Field(description="edges at a pin of this machine, or a register of a PLC")
    chip: str = Field(default="/dev/gpiochip0", min_length=1, description="gpio: the chip, as `gpiodetect` lists it")
    pin: Pin | None = Field(default=None, description="gpio: the pin whose rising edges count")
    active_low: bool = Field(default=False, description="gpio: falling edges count instead")
    host: str | None = Field(default=None, min_length=1, description="modbus: name or address of the PLC")
    port: int = Field(default=502, ge=1, le=65535, description="modbus: its port")
    unit: int = Field(default=1, ge=0, le=255, description="modbus: its unit, where a gateway has several behind it")
    input_register: int | None = Field(
        default=None, ge=0, le=65535, description="modbus: address of the input register that counts, from 0"
    )
    poll_ms: float = Field(default=10.0, ge=1, le=1000, description="modbus: how often it is read")

    @model_validator(mode="after")
    def _can_be_read(self) -> EncoderSection:
        _one_kind(self, self.kind, _OF_GPIO, ("host", "port", "unit", "input_register", "poll_ms"))
        if self.kind == "gpio" and self.pin is None:
            raise ValueError("pin is missing. Set it to the pin's number on the chip, or its name")
        if self.kind == "modbus" and (self.host is None or self.input_register is None):
            raise ValueError("needs a host and an input_register. Set them")
        return self


def _one_kind(section: Section, kind: str, of_gpio: tuple[str, ...], of_modbus: tuple[str, ...]) -> None:
    foreign = [key for key in (of_modbus if kind == "gpio" else of_gpio) if key in section.model_fields_set]
    if foreign:
        other = "modbus" if kind == "gpio" else "gpio"
        raise ValueError(f'kind is "{kind}" and {foreign[0]} is of {other}. Remove {foreign[0]}, or change kind')
