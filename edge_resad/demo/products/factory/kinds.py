"""All kinds of defects of the factory, and which of them can happen to what."""

from __future__ import annotations

from edge_resad.demo.products import defects
from edge_resad.demo.products.defects import Spoil
from edge_resad.demo.products.factory import damage, dirt, layout

KINDS: dict[str, Spoil] = {
    "scratch": defects.scratch,
    "dent": defects.dent,
    "stain": defects.stain,
    "chip": defects.chip,
    "crack": defects.crack,
    "fibre": dirt.fibre,
    "spots": dirt.spots,
    "discoloured": dirt.discoloured,
    "blotch": dirt.blotch,
    "smear": dirt.smear,
    "ink": dirt.ink,
    "glue": dirt.glue,
    "foreign": dirt.foreign,
    "texture-break": dirt.texture_break,
    "hole": damage.hole,
    "cut": damage.cut,
    "crease": damage.crease,
    "blister": damage.blister,
    "worn": damage.worn,
    "rough": damage.rough_patch,
    "long-crack": damage.long_crack,
    "crack-network": damage.crack_network,
    "corner": damage.corner,
    "warp": damage.warp,
    "lost-thread": damage.lost_thread,
    "missing": layout.absent,
    "misplaced": layout.misplaced,
    "doubled": layout.doubled,
    "odd": layout.odd,
    "bridge": layout.bridge,
    "open": layout.interrupted,
}

_ANYWHERE = (
    "scratch",
    "stain",
    "crack",
    "fibre",
    "spots",
    "discoloured",
    "blotch",
    "smear",
    "ink",
    "glue",
    "foreign",
    "hole",
    "worn",
    "rough",
)
_FORM = ("dent", "blister", "long-crack")
_EDGES = ("chip", "corner")
_FEATURES = ("missing", "misplaced", "doubled", "odd")

SMOOTH = (*_ANYWHERE, *_FORM, "cut", "crack-network")
"""An even surface, where a change of direction would not be seen."""
PATTERNED = (*_ANYWHERE, "long-crack", "cut", "texture-break", "warp", "lost-thread", "crease")
"""A surface with a pattern."""
STONE = (*_ANYWHERE, "long-crack", "crack-network", "texture-break")
"""A hard, uneven surface."""
SOLID = (*_ANYWHERE, *_FORM, *_EDGES, *_FEATURES, "cut", "warp")
"""A part with an outline and things upon it."""
LOOSE = (*_ANYWHERE, *_EDGES, *_FEATURES, "warp")
"""Several things that lie side by side."""
ALONE = (*_ANYWHERE, *_FORM, *_EDGES, "cut", "warp")
"""One thing without features."""
CIRCUIT = (*_ANYWHERE, "long-crack", *_FEATURES, "bridge", "open", "warp")
"""Lines and pads."""
