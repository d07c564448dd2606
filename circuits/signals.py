"""Signals of the app."""

from django.dispatch import Signal

#: Sent after the commit of each change of state or mode, exactly once over all processes, in the
#: process that made it. ``sender`` is the ``Circuit`` model; ``name`` is the circuit's name and
#: ``transition`` the saved :class:`circuits.models.Transition`.
state_changed = Signal()
