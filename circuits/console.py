"""The list of circuits as those see it who look after them: what is wrong, at one look."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from . import display, health
from .machine import Mode, State
from .paging import BoundedPaginator
from .statistics import last_hour

#: The filter that lists the circuits of a kind: its parameter and the value of that.
_KINDS: Final = {
    State.OPEN.value: ("state__exact", State.OPEN.value),
    State.HALF_OPEN.value: ("state__exact", State.HALF_OPEN.value),
    display.FORCED: ("mode__in", ",".join(health.FORCED_MODES)),
    display.OBSERVED: ("mode__exact", Mode.OBSERVE.value),
    State.CLOSED.value: ("state__exact", State.CLOSED.value),
}

#: What is named even where there is none: that is news too.
_ALWAYS: Final = (State.OPEN.value, State.CLOSED.value)


class Counted(NamedTuple):
    """How many circuits there are of a kind.

    Args:
        badge: The number, in words with a sign and a colour.
        query: The query string of the list that shows them.
        is_shown: Whether that is the list that is looked at.
    """

    badge: SafeString
    query: str
    is_shown: bool


class CircuitList(ChangeList):
    """The list of circuits, each with its calls of the last hour, and what they come to."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page's circuits, and the calls of them all in one query more."""
        super().get_results(request)
        circuits: Any = self.result_list
        if "calls" in self.list_display and circuits:
            hours = last_hour([each.pk for each in circuits], circuits[0].db_now / 1_000_000)
            for circuit in circuits:
                circuit.last_hour = hours.get(circuit.pk, ())

    @cached_property
    def counted(self) -> dict[str, int]:
        """How many circuits there are of each kind, whatever the list is filtered by.

        Those that are out of order come first, and no more are counted than a list pages through.

        Raises:
            django.db.Error: The circuits' database cannot be read.
        """
        return health.counted(BoundedPaginator.limit + 1)

    @property
    def counts(self) -> Iterator[Counted]:
        """What the list begins with."""
        for name, (field, value) in _KINDS.items():
            number = self.counted[name]
            if number or name in _ALWAYS:
                is_shown = self.params.get(field) == value
                yield Counted(display.number_of(name, number), f"?{field}={value}", is_shown)

    @property
    def counted_at_most(self) -> int | None:
        """Where counting stopped; None where it came to the end."""
        return BoundedPaginator.limit if self.counted["total"] > BoundedPaginator.limit else None

    @property
    def live(self) -> dict[str, Any]:
        """What the script that keeps the list up to date begins with."""
        # Rows that are being edited are left alone.
        circuits = [] if self.list_editable else self.result_list
        return self.model_admin.live_of_list(circuits)  # type: ignore[attr-defined,no-any-return]

    @cached_property
    def beat(self) -> dict[str, Any]:
        """Whether beat runs, and what that means, in a sentence."""
        found = health.beat()
        return {"status": found["status"], "words": _beat_in_words(**found)}


def _beat_in_words(status: str, seconds_ago: float | None) -> str:
    if seconds_ago is None:
        return _(
            "Beat has never been seen: an open circuit waits for the next call to move on. "
            "Calls are not affected."
        )
    words = {"ago": display.duration(seconds_ago)}
    if status == "ok":
        return _("Beat was last seen %(ago)s ago.") % words
    return (
        _("Beat was last seen %(ago)s ago: the state shown may lag. Calls are not affected.")
        % words
    )
