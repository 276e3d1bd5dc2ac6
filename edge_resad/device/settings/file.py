"""The station file: everything an operator sets for one station, in one typed TOML file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from edge_resad.device.settings.broker import BrokerSection
from edge_resad.device.settings.camera import CameraSection
from edge_resad.device.settings.commands import CommandsSection
from edge_resad.device.settings.control import ControlSection
from edge_resad.device.settings.drift import DriftSection
from edge_resad.device.settings.engine import EngineSection
from edge_resad.device.settings.inspection import InspectionSection
from edge_resad.device.settings.log import LogSection
from edge_resad.device.settings.machine import MachineSection
from edge_resad.device.settings.metrics import MetricsSection
from edge_resad.device.settings.outputs import EncoderSection, OutputSection
from edge_resad.device.settings.pictures import PicturesSection
from edge_resad.device.settings.place import StationSection
from edge_resad.device.settings.products import ProductsSection
from edge_resad.device.settings.sparkplug import SparkplugSection
from edge_resad.device.settings.spool import SpoolSection
from edge_resad.device.settings.watch import WatchSection
from edge_resad.sections import Section, read_settings

_OF_RECIPES = ("bank", "threshold", "min_area_px", "debounce_k", "debounce_n")


class StationFile(Section):
    """The whole station file. Relative paths are relative to the file."""

    model_config = ConfigDict(populate_by_name=True)

    station: StationSection
    cameras: tuple[CameraSection, ...] = Field(alias="camera")
    inspection: InspectionSection = InspectionSection()
    products: ProductsSection | None = None
    engine: EngineSection = EngineSection()
    watch: WatchSection = WatchSection()
    outputs: tuple[OutputSection, ...] = Field(default=(), alias="output")
    encoders: tuple[EncoderSection, ...] = Field(default=(), alias="encoder")
    broker: BrokerSection | None = None
    spool: SpoolSection = SpoolSection()
    log: LogSection = LogSection()
    pictures: PicturesSection = PicturesSection()
    metrics: MetricsSection = MetricsSection()
    drift: DriftSection = DriftSection()
    machine: MachineSection = MachineSection()
    control: ControlSection = ControlSection()
    commands: CommandsSection = CommandsSection()
    sparkplug: SparkplugSection | None = None

    @field_validator("cameras", "outputs", "encoders", mode="before")
    @classmethod
    def _one_or_several(cls, told: Any) -> Any:
        if isinstance(told, dict):
            return (told,)
        return tuple(told) if isinstance(told, list) else told

    @model_validator(mode="after")
    def _knows_its_cameras(self) -> StationFile:
        if not self.cameras:
            raise ValueError("the station has no camera. Add a section [camera] with its source")
        twice = [name for name, count in Counter(camera.name for camera in self.cameras).items() if count > 1]
        if twice:
            raise ValueError(f'two cameras have the name "{twice[0]}". Give each [[camera]] a name of its own')
        return self

    @model_validator(mode="after")
    def _knows_what_outputs_name(self) -> StationFile:
        cameras, encoders = [[one.name for one in many] for many in (self.cameras, self.encoders)]
        for kind, names in (("output", [output.name for output in self.outputs]), ("encoder", encoders)):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f'two {kind}s have the name "{twice[0]}". Give each [[{kind}]] a name of its own')
        for output in self.outputs:
            unknown = [name for name in output.cameras if name not in cameras]
            if unknown:
                there = f"There are: {', '.join(cameras)}"
                raise ValueError(f'output {output.name} is for the camera "{unknown[0]}", which is none. {there}')
            if output.delay_counts is None or output.encoder in encoders:
                continue
            if output.encoder is not None or len(encoders) != 1:
                there = f"There are: {', '.join(encoders)}" if encoders else "Add a section [encoder]"
                which = f'the encoder "{output.encoder}"' if output.encoder else "one encoder"
                raise ValueError(f"output {output.name} has delay_counts, which need {which}. {there}")
        return self

    @model_validator(mode="after")
    def _knows_its_products(self) -> StationFile:
        told = self.inspection
        if self.products is not None:
            twice = [key for key in _OF_RECIPES if key in told.model_fields_set]
            if twice:
                raise ValueError(
                    f"[inspection] {twice[0]} is set beside [products], where it comes from the product's recipe. "
                    "Remove one of them; edge-resad product change sets it in the recipe"
                )
        for camera in self.cameras:
            by = camera.bank or camera.products or told.bank
            if by is None and self.products is None:
                raise ValueError(
                    "[inspection] bank is missing. Set it to a bank of edge-resad enrol, or set [products] folder"
                )
            if camera.use is not None and camera.products is None and self.products is None:
                raise ValueError(
                    f'camera {camera.name} is to use "{camera.use}", but there are no products. Set [products] folder'
                )
        return self

    @model_validator(mode="after")
    def _knows_its_broker(self) -> StationFile:
        if self.sparkplug is None:
            return self
        if self.broker is None:
            raise ValueError(
                "[sparkplug] is set and there is no [broker], at which a SCADA and the station meet. Set it, or remove "
                "[sparkplug]"
            )
        if self.sparkplug.cert_file is not None and self.broker.ca_file is None:
            raise ValueError(
                "[sparkplug] cert_file is set without [broker] ca_file, and without ca_file there is no TLS. Set it"
            )
        return self

    @property
    def camera(self) -> CameraSection:
        """The only camera, or the first of several."""
        return self.cameras[0]

    def of_camera(self, camera: CameraSection) -> StationFile:
        """The same station as if this camera were its only one."""
        station, inspection, products = self.station, self.inspection, self.products
        if camera.product is not None:
            station = station.model_copy(update={"product": camera.product})
        if camera.bank is not None:
            inspection, products = inspection.model_copy(update={"bank": camera.bank}), None
        elif camera.products is not None:
            base = products or ProductsSection(folder=camera.products)
            products = base.model_copy(update={"folder": camera.products, "use": camera.use})
        elif camera.use is not None and products is not None:
            products = products.model_copy(update={"use": camera.use})
        changed = {"station": station, "cameras": (camera,), "inspection": inspection, "products": products}
        return self.model_copy(update=changed)


def load_station(path: Path) -> StationFile:
    """Read a station file; every path in it comes back absolute.

    Raises:
        SettingsError: there is no such file, or a key or a value in it is wrong.
    """
    return read_settings(path, StationFile, kind="station")
