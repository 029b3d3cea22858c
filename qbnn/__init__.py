"""Quantum-deformed binary networks, and the command line that serves both packages."""
