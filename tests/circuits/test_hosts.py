"""Which hosts a probe may call."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from circuits.exceptions import InvalidInputError
from circuits.hosts import check_probe_host


@pytest.mark.parametrize(
    ("listed", "host"),
    [
        (["*"], "evil.example"),
        (["evil.example"], "Evil.Example:8080"),
        ([".example"], "evil.example"),
        ([".EXAMPLE"], "evil.example"),
        (["[::1]"], "[::1]:80"),
        (["other.example", "my_service"], "my_service"),
    ],
)
def test_a_listed_host_may_be_called(settings: Settings, listed: list[str], host: str) -> None:
    """Hosts are listed as in ALLOWED_HOSTS."""
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": listed}
    check_probe_host(f"https://{host}/health")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://evil.test/", "evil.test"),
        ("http://notexample.org/", "notexample.org"),
        ("http://example.org.evil.test/", "example.org.evil.test"),
        ("http://example.org@evil.test/", "evil.test"),
        ("http://evil.test\\@example.org/", "evil.test"),
        ("http://evil.test#@example.org/", "evil.test"),
        ("http://[::1]/", "[::1]"),
        (" http://EVIL.test:80/ ", "evil.test"),
    ],
)
def test_the_host_that_would_be_called_is_the_one_that_is_judged(
    settings: Settings, url: str, host: str
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": [".example.org", "127.0.0.1"]}
    with pytest.raises(InvalidInputError) as refused:
        check_probe_host(url)
    assert str(refused.value) == (
        f"No probe may call the host {host}; add it to CIRCUITS['PROBE_HOSTS'] if one may."
    )


@pytest.mark.parametrize("listed", [["*"], ["*", "other.example"]])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1:8080", "169.254.169.254", "[::1]", "[fd00::1]", "127.1", "0"]
)
def test_an_address_that_is_not_public_must_be_named(
    settings: Settings, listed: list[str], host: str
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": listed}
    with pytest.raises(InvalidInputError, match="whose address is not a public one"):
        check_probe_host(f"http://{host}/")
    name = host if host.startswith("[") else host.partition(":")[0]
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": [*listed, name]}
    check_probe_host(f"http://{host}/")


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "localhost", "inside.example"])
def test_a_public_address_or_a_name_is_let_through(settings: Settings, host: str) -> None:
    """The addresses of a name are checked when it is called."""
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": ["*"]}
    check_probe_host(f"http://{host}/")


@pytest.mark.parametrize("url", ["http://[::1", "http://user:hunter2@*.test/", "http://x:y:z/"])
def test_what_nobody_can_call_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(InvalidInputError, match="The URL cannot be called: ") as refused:
        check_probe_host(url)
    assert "hunter2" not in str(refused.value)
