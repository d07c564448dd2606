"""Circuits and transitions as tests need them."""

from __future__ import annotations

from datetime import timedelta

import factory
from django.utils import timezone

from circuits.machine import Mode, Reason, State
from circuits.models import Circuit, Transition


class CircuitFactory(factory.django.DjangoModelFactory[Circuit]):
    """A closed circuit with the default policy."""

    class Meta:
        model = Circuit

    class Params:
        #: An open circuit in the middle of its delay.
        opened = factory.Trait(
            state=State.OPEN,
            generation=1,
            failure_count=5,
            opened_at=factory.LazyFunction(timezone.now),
            state_changed_at=factory.LazyFunction(timezone.now),
            retry_at=factory.LazyFunction(lambda: timezone.now() + timedelta(minutes=1)),
        )
        #: An open circuit whose delay has passed.
        expired = factory.Trait(
            opened=True,
            retry_at=factory.LazyFunction(lambda: timezone.now() - timedelta(seconds=1)),
        )

    name = factory.Sequence(lambda n: f"circuit {n}")


class TransitionFactory(factory.django.DjangoModelFactory[Transition]):
    """The opening of a circuit."""

    class Meta:
        model = Transition

    circuit = factory.SubFactory(CircuitFactory)
    from_state = State.CLOSED
    to_state = State.OPEN
    from_mode = Mode.AUTOMATIC
    to_mode = Mode.AUTOMATIC
    reason = Reason.FAILURES
    generation = factory.Sequence(lambda n: n + 1)
    at = factory.LazyFunction(timezone.now)
