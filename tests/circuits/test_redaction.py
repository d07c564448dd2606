"""No secret of a URL survives in texts that are kept or logged."""

from __future__ import annotations

import base64
import random
import re
import socket
import string
import time
import unicodedata
import uuid
from collections.abc import Callable
from http import client
from typing import Any

import httpx
import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from circuits.redaction import ERROR_LENGTH, describe, redact, redact_url
from tests.remotes import nobody as nobody_there

quick = settings(derandomize=True, deadline=None)

UNRESERVED = string.ascii_letters + string.digits + "-._~%!$&'()*+,;=:"


def secrets(alphabet: str) -> st.SearchStrategy[str]:
    """Return a strategy of secrets: a known word at each end, and any characters between."""
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


# Secrets in a path


ORDINARY_PATHS = [
    "/v1/customers/12345/orders",
    "/v2beta1/projects/acme-corp-2/locations/us-east-1:setIamPolicy",
    "/blog/2024/05/01/my-first-post-about-django-5-2",
    "/archive/2024-05-01/20240501T120000Z/image_1920x1080.png",
    "/releases/v1.2.3-rc1/python3.11/libssl1.1/x86_64",
    "/api/getUserByIdAndName/oauth2callback/XMLHttpRequest2",
    "/order-2024-000123/1714557600000/99999999999999999999",
    "/internationalization/pneumonoultramicroscopicsilicovolcanoconiosis",
    "/Rechtsschutzversicherungsgesellschaften/caf%C3%A9/%E6%97%A5%E6%9C%AC",
    "/usr/lib/python3.12/site-packages/django/contrib/admin/options.py",
    "/iPhone12ProMax/covid19data/k8s-cluster-01/3scale/win32",
    "/index.html/en-US/zh-Hans-CN/iso-8859-1/utf8mb4/sha256",
]

SECRET_SEGMENTS = {
    "/bot123456:AAF-x_Secret0token9/sendMessage": "/***/sendMessage",
    "/services/T024BE7LD/B024BE7LH/x9Ck2PpQ7secretZ1": "/services/***/***/***",
    "/api/webhooks/1234567890/W8s_kQ-3zRt7vY2bN5mX9pL1aD4fG6hJ": "/api/webhooks/1234567890/***",
    "/reset/d41d8cd98f00b204e9800998ecf8427e/confirm": "/reset/***/confirm",
    "/orders/550e8400-e29b-41d4-a716-446655440000/items": "/orders/***/items",
    "/u/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "/u/***",
    "/keys/AKIAIOSFODNN7EXAMPLE": "/keys/***",
    "/k/sk_live_51H8xQ2eZvKYlo2C": "/k/***",
    "/enc/%78%39Ck2PpQ7secretZ1": "/enc/***",
    "/page;jsessionid=1A2B3C4D5E6F7A8B/x": "/page;***/x",
}


@pytest.mark.parametrize("path", ORDINARY_PATHS)
def test_an_ordinary_path_stays_readable(path: str) -> None:
    assert redact(f"GET {path} failed") == f"GET {path} failed"
    assert (
        redact_url(f"https://api.example.com:8443{path}") == f"https://api.example.com:8443{path}"
    )


@pytest.mark.parametrize(("path", "masked"), SECRET_SEGMENTS.items())
def test_a_segment_that_looks_random_is_masked(path: str, masked: str) -> None:
    assert redact(f"with url: {path}?a=b (Caused by E)") == f"with url: {masked} (Caused by E)"
    assert (
        redact(f"Invalid URL 'https://h.example{path}'")
        == f"Invalid URL 'https://h.example{masked}'"
    )
    assert redact_url(f"https://u:p@h.example{path}?a=b") == f"https://h.example{masked}"


@quick
@given(st.integers(0, 2**64), st.sampled_from(["hex", "UUID", "base64"]))
def test_what_machines_draw_is_masked(seed: int, kind: str) -> None:
    drawn = random.Random(seed).randbytes(32)
    token = {
        "hex": drawn[:16].hex(),
        "UUID": str(uuid.UUID(bytes=drawn[:16], version=4)),
        "base64": base64.urlsafe_b64encode(drawn).decode().rstrip("="),
    }[kind]
    assert redact(f"https://h.example/hooks/{token}/x") == "https://h.example/hooks/***/x"


# Secrets in a text


KEYS = [
    "password",
    "passwd",
    "PGPASSWORD",
    "DB_PASS",
    "pwd",
    "passphrase",
    "api_key",
    "API-Key",
    "apikey",
    "X-Api-Key",
    "AccountKey",
    "secret",
    "client_secret",
    "SECRET_KEY",
    "access_token",
    "token",
    "signature",
    "sig",
    "session_id",
    "aws_secret_access_key",
]

NOTATIONS = [
    "{key}={secret}",
    "login with {key}={secret} failed",
    "{key}: {secret}",
    "{{'{key}': '{secret}', 'user': 'ann'}}",
    '{{"user":"ann","{key}":"{secret}"}}',
    "('{key}', '{secret}')",
    "[(b'{key}', b'{secret}')]",
    "<{key}>{secret}</{key}>",
    "{key} => {secret}",
]

words = secrets(string.ascii_letters + string.digits + "-._~%!$&()*+;:@/[]{}^|")


@pytest.mark.parametrize("notation", NOTATIONS)
@quick
@given(st.sampled_from(KEYS), words)
def test_the_value_of_a_secret_name_is_masked(notation: str, key: str, secret: str) -> None:
    kept = redact(notation.format(key=key, secret=secret))
    assert "s3cr3t" not in kept
    assert "t3rc3s" not in kept
    assert "***" in kept


@quick
@given(st.sampled_from(KEYS), secrets(string.printable.replace('"', "").replace("\\", "")))
def test_a_quoted_value_is_masked_whole(key: str, secret: str) -> None:
    kept = redact(f'{{"{key}": "{secret}", "user": "ann"}}')
    assert "t3rc3s" not in kept


SECRET_TEXTS = {
    "401 for Bearer hunter2": "401 for Bearer ***",
    "sent Authorization: Bearer hunter2": "sent Authorization: ***",
    "{'Authorization': 'Basic aHVudGVyMg==', 'Accept': '*/*'}": (
        "{'Authorization': ***, 'Accept': '*/*'}"
    ),
    'Authorization: Digest username="ann", response="hunter2"': "Authorization: ***",
    "Cookie: sessionid=hunter2; csrftoken=hunter2\nHost: h": "Cookie: ***\nHost: h",
    "tried Basic aHVudGVyMg==": "tried Basic ***",
    "no route to user:hunter2@db": "no route to ***@db",
    "user:hunt@er2@db:5432/shop": "***@db:5432/shop",
    "user:hunt/er2@tcp(db)": "***@tcp(db)",
    "postgres://user:hunt/er#2@db/shop": "postgres://db/shop",
    "GET path?sig=hunter2 HTTP/1.1": "GET path HTTP/1.1",
    "to callback#access_token=hunter2": "to callback",
    "key AIzaSyD-hunter2hunter2hunter2hunter2hun": "key ***",
    "push with ghp_hunter2hunter2hunter2 refused": "push with *** refused",
    "xoxb-12-hunter2 is revoked": "*** is revoked",
    "bad sk_test_hunter2, try again": "bad ***, try again",
    "got eyJhbGciOi.eyJzdWIi.hunter2": "got ***",
    "Port could not be cast to integer value as 'hunter2'": (
        "Port could not be cast to integer value as ***"
    ),
    "ProtocolError('Connection aborted.', BadStatusLine('-ERR hunter2'))": (
        "ProtocolError('Connection aborted.', BadStatusLine(***))"
    ),
    "illegal status line: bytearray(b'-ERR hunter2')": "illegal status line: bytearray(***)",
    "InvalidChunkLength(got length b'hunter2', 0 bytes read)": (
        "InvalidChunkLength(got length ***, 0 bytes read)"
    ),
}


@pytest.mark.parametrize(("text", "masked"), SECRET_TEXTS.items())
def test_a_secret_in_a_text_is_masked(text: str, masked: str) -> None:
    assert redact(text) == masked
    assert redact(masked) == masked
    assert "hunter2" not in describe(ValueError(text))


@pytest.mark.parametrize(
    "text",
    [
        "fe_sendauth: no password supplied",
        "(1045, \"Access denied for user 'ann'@'db' (using password: YES)\")",
        'password authentication failed for user "ann"',
        "unexpected token < in JSON at position 0",
        "The token has expired; the signature is not valid.",
        "HTTPConnectionPool(host='db.example', port=5432): Max retries exceeded",
        "duplicate key value violates unique constraint, Key (id)=(5) already exists.",
        "Bearer token is missing",
        'Bearer realm="shop", error="invalid"',
        "Basic authentication is required",
        "localhost:8000/users/@me is not there",
        "design=5 and passed: 3",
        "mailto:ann@example.com bounced",
        "[Errno -2] Name or service not known",
        "https://[::1]:5000/users/@me",
    ],
)
def test_a_text_that_only_speaks_of_secrets_stays(text: str) -> None:
    assert redact(text) == text


FRAGMENTS = [
    "/", "://", "@", "?a=", "a:", "://a:", "password=", 'password="', "token", "token:'", "Bearer ",
    "Basic a", "eyJabc.", "xoxb-", "cookie:", "b'", "bytearray(b'", "BadStatusLine('", "a", " ",
    "/a%", "/-", "api_", "sig=", '{"token":"', "\\", "'", '"', "=>", "session_id",
]  # fmt: skip


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_a_megabyte_of_anything_is_described_in_no_time(fragment: str) -> None:
    text = fragment * (1_000_000 // len(fragment))
    began = time.process_time()
    describe(ValueError(text))
    assert time.process_time() - began < 10


# What the site adds


@pytest.fixture
def site(settings: Settings) -> Callable[..., None]:
    def knows(*patterns: object) -> None:
        settings.CIRCUITS = {**settings.CIRCUITS, "REDACT": patterns}

    return knows


def test_a_site_adds_patterns(site: Callable[..., None]) -> None:
    site(r"cust-\d+", re.compile(r"(?<=iban )[a-z]{2}\d+", re.IGNORECASE))
    error = ValueError("No cust-4711 with iban NL02ABNA0123456789 or IBAN nl02")
    assert describe(error) == "ValueError: No *** with iban ***ABNA0123456789 or IBAN ***"
    assert redact_url("https://h.example/cust-4711/orders") == "https://h.example/***/orders"


def test_matches_that_overlap_are_masked_together(site: Callable[..., None]) -> None:
    site("abcd", "cdef", "x*")
    assert describe(ValueError("1abcdef2")) == "ValueError: 1***2"


def test_a_match_at_the_end_of_what_is_kept_is_masked_whole(site: Callable[..., None]) -> None:
    site(r"key-\d{40}")
    for padding in range(ERROR_LENGTH - 60, ERROR_LENGTH + 5):
        kept = describe(ValueError("x" * padding + "key-" + "7" * 40))
        assert "7" not in kept
        assert len(kept) <= ERROR_LENGTH


@pytest.mark.parametrize(
    "pattern", [r"\w+!", r"[a-z]{1,400}\d", r"(?:\w++ )?\d+!", ".*x", r"a?\w*b$"]
)
def test_a_pattern_of_the_site_holds_nobody_up(site: Callable[..., None], pattern: str) -> None:
    site(*[pattern] * 10)
    for text in ("a" * 1_000_000, "a " * 500_000, "a1" * 500_000):
        began = time.process_time()
        describe(ValueError(text))
        assert time.process_time() - began < 10


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
    """Return a host and port at which no server listens."""
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


@pytest.mark.parametrize(
    "error",
    [
        client.BadStatusLine("-ERR hunter2"),
        client.UnknownProtocol("hunter2/1.0"),
        requests.ConnectionError(
            urllib3.exceptions.ProtocolError("aborted", client.BadStatusLine("-ERR 'hunter2"))
        ),
    ],
)
def test_what_is_not_http_is_said_and_not_quoted(error: Exception) -> None:
    assert describe(error) == f"{type(error).__name__}: The answer is not HTTP"


def test_no_answer_at_all_is_not_taken_for_one_that_is_not_http() -> None:
    gone = client.RemoteDisconnected("Remote end closed connection without response")
    assert describe(gone) == "RemoteDisconnected: Remote end closed connection without response"


def test_an_exception_that_cannot_be_printed_is_described_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe(BrokenError()) == "BrokenError: (it cannot be printed)"


# Exceptions that wrap others


def raised(ask: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011 - of several libraries
        ask()
    return found.value


def test_the_cause_leads_where_a_library_has_wrapped_it() -> None:
    with nobody_there() as url:
        refused = raised(lambda: requests.get(url, timeout=5))
        by_urllib3 = raised(lambda: urllib3.request("GET", url, retries=0))
    assert describe(refused).startswith("Connection refused (ConnectionError: HTTPConnectionPool(")
    assert describe(by_urllib3).startswith("Connection refused (MaxRetryError: HTTPConnectionPool(")


def test_the_cause_leads_as_older_releases_word_it() -> None:
    broken: Any = object()
    inner = urllib3.exceptions.NewConnectionError(
        broken, "Failed to establish a new connection: [Errno 111] Connection refused"
    )
    error = requests.ConnectionError(urllib3.exceptions.MaxRetryError(broken, "/", inner))
    assert describe(error).startswith("Connection refused (ConnectionError: ")


def test_what_only_adds_where_it_happened_is_told_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = raised(lambda: requests.get(url, timeout=0.1))
    assert describe(error) == "ReadTimeout: Read timed out. (read timeout=0.1)"


def test_what_leads_keeps_no_secret_either() -> None:
    inner = urllib3.exceptions.ProtocolError("password=hunter2 was refused")
    said = describe(requests.ConnectionError("given up", inner))
    assert said.startswith("password=*** was refused (ConnectionError: ")
    assert "hunter2" not in said


def test_one_that_wraps_nothing_is_told_by_its_type() -> None:
    assert describe(requests.ConnectionError("down")) == "ConnectionError: down"
