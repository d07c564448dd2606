"""Tests of a site that do not mention circuits, as they were before the app was installed.

The site's views call through circuits now. All tests pass with one line that keeps circuits in
memory. Each test finds new circuits, so if anything leaks, whichever test runs second fails.
"""

from __future__ import annotations

import asyncio
import unittest
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.test import Client, LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase

import circuits
from circuits.signals import state_changed
from circuits.testing import memory_circuits, override_circuit

from .django_style import POOL, afail, fail

if TYPE_CHECKING:
    _Case = SimpleTestCase
else:
    _Case = object

BROKEN = [502, 502, 502, 503]


class Kinds(_Case):
    """The tests, which each class inherits."""

    def setUp(self) -> None:
        assert circuits.get("payments").state == "closed"
        with circuits.guard("payments"):
            pass

    def test_views(self) -> None:
        client = Client()
        assert [client.get("/fail/").status_code for _ in BROKEN] == BROKEN

    def test_views_once_more(self) -> None:
        client = Client()
        assert [client.get("/afail/").status_code for _ in BROKEN] == BROKEN

    def test_threads(self) -> None:
        list(POOL.map(fail, ["payments"] * 3))
        assert circuits.get("payments").state == "open"
        asyncio.run(afail("rates"))

    def test_what_was_gathered_goes_nowhere(self) -> None:
        circuits.get("payments").force_open()
        circuits.flush()

    def test_the_signal_is_sent(self) -> None:
        heard: list[tuple[str, str, str]] = []

        def hear(name: str, transition: Any, **kwargs: Any) -> None:
            assert transition.circuit.name == name
            heard.append((name, transition.to_state, transition.reason))

        state_changed.connect(hear)
        self.addCleanup(state_changed.disconnect, hear)
        for _ in range(3):
            fail("payments")
        assert heard == [("payments", "open", "failures")]

    @override_circuit("payments", state="open")
    def test_a_circuit_in_a_state_of_its_choosing(self) -> None:
        assert Client().get("/succeed/").status_code == 503


class AsyncKinds(Kinds):
    async def test_async_calls(self) -> None:
        for _ in range(3):
            await afail("payments")
        assert (await asyncio.to_thread(circuits.get, "payments")).state == "open"


class Plain(Kinds, unittest.TestCase):
    pass


class Simple(AsyncKinds, SimpleTestCase):
    pass


class RolledBack(AsyncKinds, TestCase):
    pass


class Committed(AsyncKinds, TransactionTestCase):
    pass


class Served(AsyncKinds, LiveServerTestCase):
    def test_the_live_server(self) -> None:
        assert [self.status("fail") for _ in BROKEN] == BROKEN
        assert circuits.get("payments").state == "open"

    def status(self, view: str) -> int:
        try:
            with urlopen(f"{self.live_server_url}/{view}/", timeout=30) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code


class InAStateForTheWholeClass(SimpleTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.enterClassContext(override_circuit("payments", state="open"))

    def test_it_is_open(self) -> None:
        assert Client().get("/succeed/").status_code == 503

    def test_it_is_open_again_after_a_test_that_closed_it(self) -> None:
        circuits.get("payments").reset()
        assert Client().get("/succeed/").status_code == 200

    def test_what_the_block_left_in_memory(self) -> None:
        with memory_circuits():
            fail("rates")


class PendingMigrations(TestCase):
    def test_no_migration_is_missing(self) -> None:
        call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())

    def test_the_checks_find_nothing(self) -> None:
        call_command("check", stdout=StringIO())


class EveryAlias(TestCase):
    databases = "__all__"

    def test_no_migration_is_pending(self) -> None:
        for alias in connections:
            executor = MigrationExecutor(connections[alias])
            assert not executor.migration_plan(executor.loader.graph.leaf_nodes())


class BothAliases(TestCase):
    """A class with the databases that Django's hint names; it loads its fixture on every alias."""

    databases = {"default", "circuits"}
    fixtures = ["users.json"]

    def test_the_fixture_is_there_once(self) -> None:
        assert get_user_model().objects.count() == 1
        fail("payments")


class BothAliasesCommitted(TransactionTestCase):
    databases = {"default", "circuits"}
    fixtures = ["users.json"]

    def test_the_fixture_is_there_once(self) -> None:
        assert get_user_model().objects.count() == 1
        with ThreadPoolExecutor(1) as pool:
            pool.submit(fail, "payments").result()
