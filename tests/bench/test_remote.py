"""The server that HTTP cases call."""

from __future__ import annotations

import requests

from bench.remote import serving


def test_it_answers_each_request_of_a_connection_and_ends() -> None:
    with serving() as url, requests.Session() as session:
        for _ in range(3):
            assert session.get(url, timeout=10).text == "ok"
    try:
        requests.get(url, timeout=10)
    except requests.ConnectionError:
        return
    raise AssertionError("it still answers")
