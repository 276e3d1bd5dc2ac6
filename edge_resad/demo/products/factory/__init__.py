"""A factory of training material: many families of products in endless variants, drawn with defects that are known."""

from edge_resad.demo.products.factory.families import FACTORY, FactoryFamily
from edge_resad.demo.products.factory.folder import FactoryError, write_factory
from edge_resad.demo.products.factory.kinds import KINDS
from edge_resad.demo.products.factory.part import draw, kinds_of

__all__ = ["FACTORY", "KINDS", "FactoryError", "FactoryFamily", "draw", "kinds_of", "write_factory"]
