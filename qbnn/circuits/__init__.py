"""Neurons and layers as PennyLane circuits, and the certificate that they are what is emulated."""
