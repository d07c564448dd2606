"""Benchmarks against other circuit breakers: ``python -m bench``, or ``make bench``."""
