"""Rectangular blocks without overlaps: little area, short nets, a fixed outline."""
