"""Benchmarks that compare circuits with other breakers: ``python -m bench``, or ``make bench``."""
