"""The circuits in one process: its views of them, its tallies and its background thread."""
