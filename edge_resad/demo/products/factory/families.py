"""The factory's families: how each is designed, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_resad.demo.products import part as demo
from edge_resad.demo.products.factory import electric, fabrics, goods, kinds, makes, minerals, solids, structures
from edge_resad.demo.products.factory.look import Look
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.reused import recoloured


def _as_drawn(look: Look, rng: np.random.Generator) -> Look:
    return look


@dataclass(frozen=True, kw_only=True)
class FactoryFamily:
    """One family of products; a variant's generator decides on its design."""

    name: str  # the key in FACTORY
    title: str  # as people call it
    design: Callable[[np.random.Generator, int], Making]  # for pictures of this side in pixels
    kinds: tuple[str, ...]  # what can be wrong with it
    look: Callable[[Look, np.random.Generator], Look] = _as_drawn  # what is special about its camera


_ALL = (
    FactoryFamily(name="woven", title="Cloth", design=fabrics.woven, kinds=kinds.PATTERNED),
    FactoryFamily(name="knit", title="Knitwear", design=fabrics.knit, kinds=kinds.PATTERNED),
    FactoryFamily(name="carpet", title="Carpet", design=fabrics.carpet, kinds=(*kinds.SMOOTH, "lost-thread")),
    FactoryFamily(name="leather", title="Leather", design=fabrics.leather, kinds=(*kinds.SMOOTH, "crease")),
    FactoryFamily(name="paper", title="Printed paper", design=fabrics.paper, kinds=kinds.PATTERNED),
    FactoryFamily(name="mesh", title="Mesh", design=fabrics.mesh, kinds=kinds.PATTERNED),
    FactoryFamily(name="quilt", title="Padding", design=fabrics.quilt, kinds=kinds.PATTERNED),
    FactoryFamily(name="brushed", title="Brushed metal", design=minerals.brushed, kinds=kinds.SMOOTH),
    FactoryFamily(name="cast", title="Cast metal", design=minerals.cast, kinds=kinds.SMOOTH),
    FactoryFamily(name="knurled", title="Knurled sheet", design=minerals.knurled, kinds=kinds.PATTERNED),
    FactoryFamily(name="wood", title="Wood", design=minerals.wood, kinds=(*kinds.STONE, "dent", "cut")),
    FactoryFamily(name="marble", title="Marble", design=minerals.marble, kinds=kinds.STONE),
    FactoryFamily(name="granite", title="Granite", design=minerals.granite, kinds=kinds.STONE),
    FactoryFamily(name="tiles", title="Tiles", design=minerals.tiles, kinds=(*kinds.STONE, "warp")),
    FactoryFamily(name="aggregate", title="Pavement", design=minerals.aggregate, kinds=kinds.STONE),
    FactoryFamily(name="plastic", title="Plastic sheet", design=minerals.plastic, kinds=kinds.SMOOTH),
    FactoryFamily(name="grooves", title="Profiled sheet", design=minerals.grooves, kinds=kinds.PATTERNED),
    FactoryFamily(name="foam", title="Foam", design=structures.foam, kinds=kinds.SMOOTH),
    FactoryFamily(name="fleece", title="Fleece", design=structures.fleece, kinds=kinds.STONE),
    FactoryFamily(name="strands", title="Strands", design=structures.strands, kinds=kinds.PATTERNED),
    FactoryFamily(name="cobbles", title="Cobbles", design=structures.cobbles, kinds=kinds.STONE),
    FactoryFamily(name="scales", title="Scales", design=structures.scales, kinds=kinds.PATTERNED),
    FactoryFamily(name="keys", title="Keys in rows", design=structures.keys, kinds=kinds.PATTERNED),
    FactoryFamily(name="drilled", title="Drilled plate", design=solids.drilled, kinds=kinds.SOLID),
    FactoryFamily(name="moulded", title="Moulding", design=solids.moulded, kinds=kinds.SOLID),
    FactoryFamily(name="gear", title="Gear or ring", design=solids.gear, kinds=kinds.SOLID),
    FactoryFamily(name="wheel", title="Wheel", design=solids.wheel, kinds=kinds.SOLID),
    FactoryFamily(name="top", title="Bottle top", design=solids.top, kinds=kinds.SOLID),
    FactoryFamily(name="bottle", title="Bottle from above", design=solids.bottle, kinds=kinds.SOLID),
    FactoryFamily(name="stitched", title="Seam", design=makes.stitched, kinds=kinds.CIRCUIT),
    FactoryFamily(name="weld", title="Weld", design=makes.weld, kinds=kinds.CIRCUIT),
    FactoryFamily(name="spring", title="Spring", design=makes.spring, kinds=kinds.SOLID),
    FactoryFamily(name="can", title="Can from the side", design=makes.can, kinds=kinds.SOLID),
    FactoryFamily(name="fruit", title="Fruit", design=makes.fruit, kinds=kinds.SOLID),
    FactoryFamily(name="solar", title="Solar cell", design=electric.solar, kinds=(*kinds.CIRCUIT, "lost-thread")),
    FactoryFamily(name="traces", title="Traces", design=electric.traces, kinds=kinds.CIRCUIT, look=electric.as_film),
    FactoryFamily(name="stuffed", title="Stuffed board", design=electric.stuffed, kinds=kinds.SOLID),
    FactoryFamily(name="connector", title="Connector", design=electric.connector, kinds=kinds.SOLID),
    FactoryFamily(name="package", title="Component with leads", design=electric.package, kinds=kinds.SOLID),
    FactoryFamily(name="cable", title="Cable, cut across", design=electric.cable, kinds=kinds.SOLID),
    FactoryFamily(name="blister", title="Pills in rows", design=goods.blister, kinds=kinds.LOOSE),
    FactoryFamily(name="tablet", title="Pill", design=goods.tablet, kinds=kinds.ALONE),
    FactoryFamily(name="baked", title="Pastry", design=goods.baked, kinds=kinds.SOLID),
    FactoryFamily(name="loose", title="Loose goods", design=goods.loose, kinds=kinds.LOOSE),
    FactoryFamily(name="figure", title="Toy figure", design=goods.figure, kinds=kinds.SOLID),
    FactoryFamily(name="label", title="Label", design=goods.label, kinds=kinds.SOLID),
    FactoryFamily(name="brush", title="Brush", design=goods.brush, kinds=kinds.LOOSE),
    FactoryFamily(name="fasteners", title="Fasteners", design=goods.fasteners, kinds=kinds.LOOSE),
    FactoryFamily(name="zipper", title="Zip fastener", design=goods.zipper, kinds=kinds.CIRCUIT),
    FactoryFamily(name="tray", title="Food in a tray", design=goods.filled_tray, kinds=kinds.SOLID),
    *(
        FactoryFamily(name=own.name, title=own.title, design=recoloured(own), kinds=kinds.SOLID)
        for own in demo.FAMILIES.values()
    ),
)

FACTORY: dict[str, FactoryFamily] = {family.name: family for family in _ALL}
