"""Factories for the circuits and transitions of tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone

from circuits.core.status import Mode, Reason, State
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
            down_since=factory.LazyFunction(timezone.now),
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


def fell(name: str, *, minutes_ago: float, lasted: float | None = None, **opening: Any) -> Circuit:
    """Make a circuit that has been down for some minutes, or is down until now.

    One of its trials failed; ten calls were refused before the trial and five after it.
    """
    at = timezone.now() - timedelta(minutes=minutes_ago)
    over = lasted is not None
    circuit = CircuitFactory.create(name=name, opened=True, down_since=at)
    Circuit.objects.filter(pk=circuit.pk).update(
        state=State.CLOSED if over else State.OPEN, generation=3 + over
    )
    TransitionFactory.create(circuit=circuit, generation=1, at=at, refusals=10, **opening)
    between = {"circuit": circuit, "from_state": State.OPEN, "at": at}
    TransitionFactory.create(
        **between, generation=2, to_state=State.HALF_OPEN, reason=Reason.DELAY_PASSED
    )
    TransitionFactory.create(
        circuit=circuit,
        generation=3,
        from_state=State.HALF_OPEN,
        at=at,
        reason=Reason.TRIAL_FAILED,
        refusals=5,
    )
    if lasted is not None:
        TransitionFactory.create(
            circuit=circuit,
            generation=4,
            from_state=State.OPEN,
            to_state=State.CLOSED,
            at=at + timedelta(minutes=lasted),
            reason=Reason.RESET,
        )
    return circuit
