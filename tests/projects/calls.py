"""A project that makes calls, and the counts in its circuits' rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import Project
from .databases import FILES, Databases

#: Nothing is written before a process ends; one circuit opens by its rate of failures.
SETTINGS: Final = """
CIRCUITS |= {
    "FLUSH_SECONDS": 3600,
    "CIRCUITS": {
        "quotes": {"strategy": "rate", "failure_rate": 0.5, "minimum_calls": 10, "delay": 600},
    },
}
ALLOWED_HOSTS = ["*"]
"""

#: The app that calls.
SHOP: Final = '''
import django

django.setup()

import circuits


def pay(name="payments", number=0):
    """Make a call that succeeds."""
    with circuits.guard(name):
        return number


def quote(name="quotes"):
    """Make a call that fails, unless it is refused."""
    try:
        with circuits.guard(name):
            raise ConnectionError("the remote is down")
    except (ConnectionError, circuits.CircuitOpenError):
        pass
'''


@dataclass(frozen=True)
class Seen:
    """The counts of a circuit's calls in the database."""

    state: str
    successes: int
    failures: int
    refusals: int = 0

    @property
    def calls(self) -> int:
        """The number of all calls that were tried."""
        return self.successes + self.failures + self.refusals


def calling(
    folder: Path, settings: str = "", *, urls: str = "", databases: Databases = FILES
) -> Project:
    """Make the project and its tables."""
    return Project.make(
        folder,
        settings=SETTINGS + settings,
        urls=urls,
        apps={"shop": {"work.py": SHOP}},
        databases=databases,
    ).migrated()


def seen(project: Project, name: str) -> Seen:
    """Return the counts in a circuit's row, or zeros if the circuit does not exist."""
    done = project.run(f"""
        import json
        from circuits.models import Circuit

        columns = ("state", "total_successes", "total_failures", "total_refusals")
        print(json.dumps(list(Circuit.objects.filter(name={name!r}).values_list(*columns))))
    """)
    rows = json.loads(done.stdout)
    return Seen(*rows[0]) if rows else Seen("absent", 0, 0)
