"""Lets people and programs look at a circuit, reset it, force it and probe it."""
