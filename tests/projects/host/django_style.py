"""Tests of a site that keep its circuits in the test database, for each of Django's test classes.

Every test first checks that the circuits are untouched, and then changes them. So if anything
leaks, whichever test runs second fails.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase

import circuits
from circuits.models import Circuit

#: Lives for the whole run, like a thread pool of a site.
POOL = ThreadPoolExecutor(2)


def succeed(name: str) -> None:
    with circuits.guard(name):
        pass


def fail(name: str) -> None:
    try:
        with circuits.guard(name):
            raise ConnectionError
    except ConnectionError:
        pass


async def asucceed(name: str) -> None:
    async with circuits.guard(name):
        pass


async def afail(name: str) -> None:
    try:
        async with circuits.guard(name):
            raise ConnectionError
    except ConnectionError:
        pass


if "pytest" not in sys.modules:
    # While the runner collects the tests, their databases do not exist yet.
    for _ in range(3):
        fail("payments")
        succeed("rates")
    assert circuits.get("payments").state == "open"
    circuits.flush()


def find_untouched(test: SimpleTestCase) -> None:
    circuits.flush()
    for name in ("payments", "rates"):
        row = Circuit.objects.get(name=name)
        assert (row.state, row.total_successes, row.total_failures) == ("closed", 0, 0)
        assert row.transitions.count() == 0
        assert circuits.get(name).state == "closed"
    assert not Circuit.objects.exclude(name__in=["payments", "rates"]).exists()


def find_broken(test: SimpleTestCase) -> None:
    assert circuits.get("payments").state == "open"
    circuits.flush()
    row = Circuit.objects.get(name="payments")
    assert (row.state, row.total_failures) == ("open", 3)
    assert row.transitions.count() == 1
    assert Circuit.objects.get(name="rates").total_successes == 5


def do_break() -> None:
    for _ in range(3):
        fail("payments")
    for _ in range(5):
        succeed("rates")


async def ado_break() -> None:
    for _ in range(3):
        await afail("payments")
    await asyncio.gather(*(asucceed("rates") for _ in range(5)))


if TYPE_CHECKING:
    _Case = TransactionTestCase
else:
    _Case = object


class Kinds(_Case):
    """The tests, which each of Django's classes inherits."""

    databases = {"default", "circuits"}

    def setUp(self) -> None:
        self.enterContext(self.assertNoLogs("circuits", "ERROR"))
        find_untouched(self)

    def test_calls(self) -> None:
        do_break()
        find_broken(self)

    def test_calls_that_nobody_flushes(self) -> None:
        do_break()
        time.sleep(0.35)  # longer than FLUSH_SECONDS
        assert Circuit.objects.get(name="rates").total_successes == 0

    def test_a_circuit_of_its_own(self) -> None:
        Circuit.objects.create(name="own", threshold=1)
        fail("own")
        assert circuits.get("own").state == "open"

    def test_views(self) -> None:
        statuses = [self.client.get("/fail/").status_code for _ in range(4)]
        assert statuses == [502, 502, 502, 503]

    def test_async_views(self) -> None:
        statuses = [self.client.get("/afail/").status_code for _ in range(4)]
        assert statuses == [502, 502, 502, 503]

    async def test_async_calls(self) -> None:
        await ado_break()
        await asyncio.to_thread(lambda: None)
        assert (await Circuit.objects.aget(name="payments")).state == "open"

    async def test_async_calls_of_a_circuit_of_its_own(self) -> None:
        await Circuit.objects.acreate(name="own", threshold=1)
        await asucceed("own")
        await afail("own")
        assert (await Circuit.objects.aget(name="own")).state == "open"

    async def test_async_views_and_client(self) -> None:
        answers = [await self.async_client.get("/afail/") for _ in range(4)]
        assert [each.status_code for each in answers] == [502, 502, 502, 503]

    def test_a_loop_of_its_own(self) -> None:
        Circuit.objects.create(name="own", threshold=1)
        asyncio.run(afail("own"))
        assert circuits.get("own").state == "open"
        asyncio.run(ado_break())
        find_broken_among_others(self)

    def test_threads(self) -> None:
        Circuit.objects.create(name="own", threshold=1)
        thread = Thread(target=fail, args=["own"])
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert circuits.get("own").state == "open"
        list(POOL.map(fail, ["payments"] * 3))
        assert circuits.get("payments").state == "open"


def find_broken_among_others(test: SimpleTestCase) -> None:
    circuits.flush()
    assert Circuit.objects.get(name="payments").state == "open"
    assert Circuit.objects.get(name="rates").total_successes == 5


class InATestCase(Kinds, TestCase):
    pass


class InATestCaseWithData(Kinds, TestCase):
    """A class that calls through the circuits in its set-up, which must not leak into tests."""

    @classmethod
    def setUpTestData(cls) -> None:
        assert circuits.get("payments").state == "closed"
        succeed("payments")


class InATransactionTestCase(Kinds, TransactionTestCase):
    pass


class InALiveServerTestCase(Kinds, LiveServerTestCase):
    def test_views(self) -> None:
        assert [self.status("fail") for _ in range(4)] == [502, 502, 502, 503]
        assert circuits.get("payments").state == "open"

    def test_async_views(self) -> None:
        assert [self.status("afail") for _ in range(4)] == [502, 502, 502, 503]

    def status(self, view: str) -> int:
        try:
            with urlopen(f"{self.live_server_url}/{view}/", timeout=30) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code
