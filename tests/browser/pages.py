"""The pages that people see, in the scene of :mod:`tests.browser.scene`.

A page added here is checked in every theme, on every device and under django-unfold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django.urls import reverse

from circuits.models import Circuit, history_of
from tests.browser.browser import Browser, Violation
from tests.browser.scene import DOWN


class Page(NamedTuple):
    """One page.

    Args:
        name: The name of the page in tests, and of its file.
        path: Its path, once the scene has been played.
        shows: The texts that must be visible, by the selectors of their elements.
    """

    name: str
    path: Callable[[], str]
    shows: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        return self.name

    def missing(self, browser: Browser) -> list[str]:
        """Return the texts that should be visible on this page and are not."""
        seen = {selector: browser.one(selector).text for selector in self.shows}
        return [
            word for where, words in self.shows.items() for word in words if word not in seen[where]
        ]


def _admin(view: str, *args: Any) -> str:
    return reverse(f"admin:circuits_{view}", args=args)


def _down() -> Circuit:
    return Circuit.objects.get(name=DOWN)


PAGES: Final = (
    Page(
        "circuits",
        lambda: _admin("circuit_changelist"),
        {"#result_list": ("✓ closed", "✕ open", "◐ half open", "forced open", "observe", "in 3:")},
    ),
    Page(
        "circuit",
        lambda: _admin("circuit_change", _down().pk),
        {
            ".circuits-status": ("✕ open", "Calls are refused.", "Last error"),
            ".circuits-advice": ("try now.",),
            ".circuits-buttons": ("Try now", "Reset", "Force open"),
            ".circuits-charts": ("The last day", "The last hour"),
            '[aria-labelledby="circuits-incidents"]': ("Last incidents", "6 minutes"),
            '[aria-labelledby="circuits-history"]': (
                "Last changes",
                "half open → closed",
                "too many failures",
            ),
        },
    ),
    Page(
        "confirmation",
        lambda: _admin("circuit_operate", _down().pk, "force_open"),
        {
            ".circuits-confirm": (
                "All calls to payments will be refused",
                "✕ open",
                "Reason",
                "For how long",
                "Cancel",
            )
        },
    ),
    Page(
        "incident",
        lambda: _admin("circuit_incident", _down().pk, _down().generation),
        {
            ".circuits-facts": ("not yet: it goes on", "too many failures", "Refused calls"),
            ".circuits-charts": ("failures", "refusals"),
            ".circuits-history": ("closed → open",),
        },
    ),
    Page(
        "incidents",
        lambda: _admin("opening_changelist"),
        {"#result_list": (DOWN, "and goes on", "6 minutes", "mode changed", "moves house", "ann")},
    ),
    Page(
        "index",
        lambda: reverse("admin:index"),
        {".circuits-panel": ("down, the worst:", "All circuits", "Incidents")},
    ),
    Page(
        "replay",
        lambda: f"{_admin('circuit_replay', _down().pk)}?try=threshold%3D3+or+delay%3D5",
        {
            ".circuits-page": ("Record for 24 hours", "as it is", "threshold=3"),
            ".circuits-charts": ("delay=5", "The calls that were made"),
        },
    ),
    Page("add", lambda: _admin("circuit_add"), {"#circuit_form": ("Threshold", "Delay")}),
    Page("delete", lambda: _admin("circuit_delete", _down().pk), {"#content": (DOWN,)}),
    Page(
        "history",
        lambda: _admin("transition_changelist"),
        {"#result_list": ("too many failures", "moves house", "ann", "closed → open")},
    ),
    Page(
        "change",
        lambda: _admin("transition_change", history_of(_down())[0].pk),
        {"#content": (DOWN, "closed → open")},
    ),
)


#: Problems of Django's own pages, each a rule and the selector of what it finds.
DJANGOS = {
    # The link that clears a search, which a phone shows in grey text without an underline.
    ("link-in-text-block", '.small > a[href="?"]'),
    ("link-in-text-block", 'a[href="?"]'),
}


def ours(violations: list[Violation]) -> list[Violation]:
    """Return the problems of our own pages, without those of Django's."""
    return [each for each in violations if (each.rule, each.target) not in DJANGOS]
