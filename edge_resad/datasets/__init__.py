"""Labelled image sets as they are published or photographed: which parts are good, where the others are defective."""
