"""The ways to make a call through a circuit, and what counts as a failure."""
