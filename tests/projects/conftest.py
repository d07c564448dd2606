"""Fixtures that the tests with small projects share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from .databases import KINDS, Databases, databases


@pytest.fixture(params=KINDS)
def project_databases(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[Databases]:
    """Make databases for a project, of each kind that belongs to this test run."""
    with django_db_blocker.unblock(), databases(request.param) as made:
        yield made
