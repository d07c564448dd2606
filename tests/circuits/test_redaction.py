"""No secret of a URL survives into what is kept or logged."""

from __future__ import annotations

import socket
import string
import time
import unicodedata

import httpx
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.redaction import ERROR_LENGTH, describe, redact, redact_url

quick = settings(derandomize=True, deadline=None)

UNRESERVED = string.ascii_letters + string.digits + "-._~%!$&'()*+,;=:"


def secrets(alphabet: str) -> st.SearchStrategy[str]:
    """A word to look for at each end, and any characters between."""
    return st.text(alphabet, max_size=12).map(lambda middle: f"s3cr3t{middle}t3rc3s")


hosts = st.sampled_from(["example.com", "api.example.com:8443", "127.0.0.1:5000", "[::1]:5000"])
paths = st.sampled_from(["/", "/pay", "/v1/users/42/", "/a.b~c/%20/x"])
user_infos = st.one_of(
    st.just(""),
    secrets(UNRESERVED + "@").map(lambda secret: f"{secret}@"),
    secrets(UNRESERVED + "@").map(lambda secret: f"user:{secret}@"),
)
queries = st.one_of(
    st.just(""),
    secrets(UNRESERVED + "@/?#").map(lambda secret: f"?token={secret}"),
    secrets(UNRESERVED + "@/?#").map(lambda secret: f"?a=b&{secret}"),
    secrets(UNRESERVED + "@/?").map(lambda secret: f"#{secret}"),
)
spaced_user_infos = secrets(UNRESERVED + "@ ").map(lambda secret: f"user:{secret}@")
spaced_queries = secrets(UNRESERVED + "@/?# ").map(lambda secret: f"?token={secret}")
schemes = st.sampled_from(["http", "https", "HTTPS", "redis", "postgres"])

MESSAGES = [
    "{url}",
    "404 Client Error: Not Found for url: {url}",
    "Invalid URL '{url}': No host supplied",
    '<a href="{url}">moved</a>',
    "{url} redirected to {url}",
    "HTTPSConnectionPool(host='{host}', port=443): Max retries exceeded with url: {target} "
    "(Caused by NewConnectionError('failed: [Errno 111] Connection refused'))",
    "HTTPConnectionPool(host='{host}', port=80): Read timed out. (url={target})",
    "line one\nGET {target} HTTP/1.1\r\nHost: {host}",
]


@quick
@given(schemes, user_infos, hosts, paths, queries)
def test_a_url_loses_user_info_query_and_fragment_and_nothing_else(
    scheme: str, user_info: str, host: str, path: str, query: str
) -> None:
    assert redact(f"{scheme}://{user_info}{host}{path}{query}") == f"{scheme}://{host}{path}"


@quick
@given(spaced_user_infos, hosts, paths, spaced_queries)
def test_a_url_by_itself_loses_secrets_that_hold_spaces_too(
    user_info: str, host: str, path: str, query: str
) -> None:
    assert redact_url(f"http://{user_info}{host}{path}{query}") == f"http://{host}{path}"


@pytest.mark.parametrize("message", MESSAGES)
@quick
@given(schemes, user_infos, hosts, paths, queries)
def test_no_secret_survives_in_a_message_and_host_and_path_do(
    message: str, scheme: str, user_info: str, host: str, path: str, query: str
) -> None:
    url = f"{scheme}://{user_info}{host}{path}{query}"
    text = message.format(url=url, host=host, target=path + query)
    for kept in (redact(text), describe(ValueError(text))):
        assert "s3cr3t" not in kept
        assert "t3rc3s" not in kept
        assert host in kept
        assert path in kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://example.com?token=s3cret", "http://example.com"),
        ("http://example.com#s3cret", "http://example.com"),
        ("see http://a:b@h/x?y=1 and http://c:d@i/z#2 now", "see http://h/x and http://i/z now"),
        ("with url: /x?token=s3cret (Caused by E)", "with url: /x (Caused by E)"),
    ],
)
def test_redaction_by_example(text: str, kept: str) -> None:
    assert redact(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Is it down? Yes, #1 of 3.",
        "mail someone@example.com",
        "/var/lib/file",
        "1/2 or 3/4, then?",
        "see https://example.com/path, and https://example.com/",
    ],
)
def test_text_without_secrets_is_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", ["/" * 200_000, "://" * 100_000, "@" * 200_000, "://a/" * 50_000])
def test_a_long_text_is_redacted_in_no_time(text: str) -> None:
    began = time.process_time()
    assert redact(text) == text
    assert time.process_time() - began < 2


# Errors ----------------------------------------------------------------------------------------


def test_an_error_is_described_by_its_type_and_message() -> None:
    assert describe(ConnectionError("refused")) == "ConnectionError: refused"
    assert describe(requests.ConnectTimeout("too slow")) == "ConnectTimeout: too slow"


@pytest.mark.parametrize("error", [TimeoutError(), TimeoutError(""), TimeoutError(" \n\x00 ")])
def test_an_error_with_no_message_is_described_by_its_type(error: Exception) -> None:
    assert describe(error) == "TimeoutError"


@quick
@given(st.text(max_size=2 * ERROR_LENGTH))
def test_a_description_is_one_short_line_that_can_be_stored(message: str) -> None:
    kept = describe(ValueError(message))
    assert kept.startswith("ValueError")
    assert len(kept) <= ERROR_LENGTH
    assert not {unicodedata.category(each) for each in kept} & {"Cc", "Cs", "Zl", "Zp"}


def test_a_long_message_is_cut_after_its_secrets_are_out() -> None:
    url = "https://user:s3cret@example.com/"
    for padding in range(ERROR_LENGTH - len(url), ERROR_LENGTH):
        assert "s3c" not in describe(ValueError("x" * padding + url))


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\r\n", "\x7f", "\x9b", "\ud800", "\u2028"])
def test_a_control_character_becomes_a_space(character: str) -> None:
    assert describe(ValueError(f"a{character}b")) == "ValueError: a b"


@pytest.fixture
def nobody() -> str:
    """The host and port of a server that is not there."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{closed.getsockname()[1]}"


def test_the_errors_of_requests_keep_no_secrets(nobody: str) -> None:
    url = f"http://user:s3cret@{nobody}/pay?token=s3cret#s3cret"
    with pytest.raises(requests.ConnectionError) as refused:
        requests.get(url, timeout=5)
    assert "s3cret" in str(refused.value)
    assert "s3cret" not in describe(refused.value)
    assert "/pay" in describe(refused.value)

    response = requests.Response()
    response.status_code, response.reason, response.url = 503, "Unavailable", url
    with pytest.raises(requests.HTTPError) as failed:
        response.raise_for_status()
    assert describe(failed.value) == (
        f"HTTPError: 503 Server Error: Unavailable for url: http://{nobody}/pay"
    )


def test_the_errors_of_httpx_keep_no_secrets() -> None:
    request = httpx.Request("GET", "http://user:s3cret@example.com/pay?token=s3cret")
    response = httpx.Response(503, request=request)
    with pytest.raises(httpx.HTTPStatusError) as failed:
        response.raise_for_status()
    assert "s3cret" in str(failed.value)
    assert "s3cret" not in describe(failed.value)
    assert "example.com/pay" in describe(failed.value)


def test_an_exception_that_cannot_be_printed_is_described_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe(BrokenError()) == "BrokenError: (it cannot be printed)"
