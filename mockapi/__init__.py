"""A mock remote service to try the circuit breaker on: plain JSON views, no database."""
