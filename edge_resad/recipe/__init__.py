"""Products and their recipes: what is set for each, in versions that never change, and how they travel.

A product is a folder on the shelf; each of its versions is a folder of its own with the recipe, a bank for every region
of interest that has one of its own, an ignore mask and a reference picture where there are any.
"""

from __future__ import annotations

from edge_resad.recipe.difference import described, differences, placed
from edge_resad.recipe.parcel import Parcel, add_parcel, open_parcel, pack
from edge_resad.recipe.product import Product, open_product
from edge_resad.recipe.recipe import Alignment, Recipe, Roi, Severity, checked_recipe, read_recipe, recipe_text
from edge_resad.recipe.remedy import product_command
from edge_resad.recipe.shelf import Choice, Shelf

__all__ = [
    "Alignment",
    "Choice",
    "Parcel",
    "Product",
    "Recipe",
    "Roi",
    "Severity",
    "Shelf",
    "add_parcel",
    "checked_recipe",
    "described",
    "differences",
    "open_parcel",
    "open_product",
    "pack",
    "placed",
    "product_command",
    "read_recipe",
    "recipe_text",
]
