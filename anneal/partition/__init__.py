"""Hypergraphs in parts of equal area with few nets between them."""

from __future__ import annotations

from anneal.partition.bisection import bisect
from anneal.partition.hypergraph import Hypergraph, planted_hypergraph
from anneal.partition.kway import partition
from anneal.partition.multilevel import Partition

__all__ = ["Hypergraph", "Partition", "bisect", "partition", "planted_hypergraph"]
