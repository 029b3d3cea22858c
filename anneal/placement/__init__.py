"""Standard cells in rows: netlists, wirelength, and placements that are legal."""
