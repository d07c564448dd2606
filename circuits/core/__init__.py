"""The rules of a circuit breaker as pure functions: no Django, no I/O, no clock, no randomness."""
