"""Experiments: deformed networks beside their controls, and how fast they are."""
