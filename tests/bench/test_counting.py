"""Statements and round trips are counted where they are sent."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from threading import Thread

import pytest
from django.db import connection

from bench.counting import Counter, count, counting, forwarding
from bench.measure import BrokenContenderError
from bench.work import Tally


def test_round_trips_over_a_forwarded_connection() -> None:
    trips = Tally()
    with socket.create_server(("127.0.0.1", 0)) as server:
        echo = Thread(target=_echo, args=(server,))
        echo.start()
        host, port = server.getsockname()
        with (
            forwarding(host, port, trips.tick) as local,
            socket.create_connection(("127.0.0.1", local)) as client,
        ):
            for _ in range(3):
                client.sendall(b"ask")
                assert client.recv(100) == b"ask"
        echo.join(10)
    assert trips.total() == 3


def _echo(server: socket.socket) -> None:
    client, _ = server.accept()
    with client:
        while said := client.recv(100):
            client.sendall(said)


@pytest.mark.usefixtures("committed")
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the traces of SQLite")
def test_statements_on_sqlite() -> None:
    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", [1])

    counter = count("default", ask, nullcontext)
    assert counter.only_statement() == ("SELECT %s", [1])
    assert counter.trips == 1


def test_one_statement_is_neither_none_nor_two() -> None:
    counter = Counter()
    for sent in range(3):
        if sent != 1:
            with pytest.raises(BrokenContenderError, match=f"and {sent} were sent"):
                counter.only_statement()
        counter.statements.append(("SELECT 1", None))


@pytest.mark.usefixtures("committed")
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no network")
def test_round_trips_to_a_database_server() -> None:
    address = connection.settings_dict["PORT"]
    with counting("default") as counter:
        connection.ensure_connection()
        counter.reset()
        for _ in range(2):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        counted = counter.copy()
    assert counted.trips == len(counted.statements) == 2
    assert connection.settings_dict["PORT"] == address
