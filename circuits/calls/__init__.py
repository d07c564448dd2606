"""The ways to make a call through a circuit, and the rules for what counts as a failure."""
