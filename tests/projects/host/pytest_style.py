"""Tests of a site in pytest's own style, which keep its circuits in the test database."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.test import SimpleTestCase

import circuits
from circuits.models import Circuit

from .django_style import (
    POOL,
    ado_break,
    afail,
    do_break,
    fail,
    find_broken,
    find_broken_among_others,
    find_untouched,
)

CASE = SimpleTestCase()
BOTH = ["default", "circuits"]

rolled_back = pytest.mark.django_db(databases=BOTH)
committed = pytest.mark.django_db(databases=BOTH, transaction=True)


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Circuit:
    request.getfixturevalue("db")
    return Circuit.objects.create(name="own", threshold=1)


@pytest.mark.parametrize("turn", range(2))
@pytest.mark.parametrize(
    "kind",
    [pytest.param("rolled back", marks=rolled_back), pytest.param("committed", marks=committed)],
)
class TestKinds:
    def test_calls(self, kind: str, turn: int) -> None:
        find_untouched(CASE)
        do_break()
        find_broken(CASE)

    def test_threads(self, kind: str, turn: int, own: Circuit) -> None:
        list(POOL.map(fail, ["own"]))
        assert circuits.get("own").state == "open"

    async def test_async_calls_of_its_own(self, kind: str, turn: int, own: Circuit) -> None:
        await afail("own")

    def test_what_became_of_them(self, kind: str, turn: int) -> None:
        find_untouched(CASE)

    async def test_async_calls(self, kind: str, turn: int) -> None:
        await ado_break()

    def test_a_loop_of_its_own(self, kind: str, turn: int) -> None:
        find_untouched(CASE)
        asyncio.run(ado_break())
        find_broken_among_others(CASE)

    def test_views(self, kind: str, turn: int, client: Any) -> None:
        find_untouched(CASE)
        assert [client.get("/afail/").status_code for _ in range(4)] == [502, 502, 502, 503]

    def test_the_live_server(self, kind: str, turn: int, live_server: Any) -> None:
        find_untouched(CASE)
        for _ in range(4):
            with suppress(HTTPError), urlopen(f"{live_server}/fail/", timeout=30):
                pass
        assert circuits.get("payments").state == "open"
