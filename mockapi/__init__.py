"""A mock remote service for trying circuit breakers: plain JSON views, without a database."""
