"""What people and programs do to a circuit: look at it, reset it, force it, probe it."""
