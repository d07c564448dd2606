"""Which names a circuit may have, and which URLs may be called or kept."""

from __future__ import annotations

import traceback
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.exceptions import InvalidInputError
from circuits.validation import check_name, check_probe_url, check_url

quick = settings(derandomize=True, deadline=None)

#: Values that are not strings.
others: st.SearchStrategy[object] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.lists(st.text())
)

# Names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a", "a" * 100, "payments", "Zahlungen für Köln", "支払い", "😀", "a b", "<b>%s</b>'\""],
)
def test_any_printable_text_of_1_to_100_characters_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a" * 101])
def test_a_name_of_another_length_is_refused(name: str) -> None:
    message = f"^A circuit's name must have 1 to 100 characters, not {len(name)}.$"
    with pytest.raises(InvalidInputError, match=message):
        check_name(name)


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\t",
        "\n",
        "\r",
        "\x1b",
        "\x7f",
        "\x85",
        "\x9b",
        "\ud800",
        "\u2028",
        "\u2029",
    ],
)
def test_a_control_character_is_refused_and_shown_escaped(character: str) -> None:
    with pytest.raises(InvalidInputError, match="must not hold control characters") as refused:
        check_name(f"pay{character}ments")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("name", "signs"),
    [
        ("pay\u200bments", "U+200B"),
        ("\ufeffpayments", "U+FEFF"),
        ("pay\u202ements", "U+202E"),
        ("\u2067payments\u2069", "U+2067, U+2069"),
        ("pay\u00adments", "U+00AD"),
        ("pay\u3164ments", "U+3164"),
        ("pay\u2800ments", "U+2800"),
        ("pay\ufe0fments", "U+FE0F"),
        ("pay\U000e0041ments", "U+E0041"),
        ("pay\u00a0ments", "U+00A0"),
        ("\u3000payments", "U+3000"),
        ("p\u0430y", "U+0430"),
        ("mail \u0440\u0430yments", "U+0440, U+0430"),
        ("\u03bfrders", "U+03BF"),
        ("\uff50ayments", "U+FF50"),
        ("\U0001d429ayments", "U+1D429"),
        ("pe\u0301rsonnel", "U+0301"),
    ],
)
def test_what_is_not_seen_or_passes_for_another_is_refused_by_its_code_point(
    name: str, signs: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_name(name)
    assert f"look like others: {signs} in " in str(refused.value)
    assert str(refused.value).isascii()


@pytest.mark.parametrize(
    "name",
    [
        "Zo\xeb \u2602",
        "p\xe9rsonnel \xbd",
        "\u043f\u043b\u0430\u0442\u0435\u0436\u0438-api",
        "\u652f\u6255\u3044API",
        "\u0627\u0644\u0645\u062f\u0641\u0648\u0639\u0627\u062a",
        "\u092d\u093e\u0930\u0924",
        "\U0001f4b6",
        "a-\u03a9",
    ],
)
def test_words_of_any_language_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", [" payments", "payments ", " "])
def test_a_space_around_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="must not begin or end with a space"):
        check_name(name)


@pytest.mark.parametrize("name", [None, 5, b"payments", ["payments"]])
def test_a_name_that_is_no_string_is_refused_with_its_type(name: object) -> None:
    with pytest.raises(InvalidInputError, match=f"must be a string, not {type(name).__name__}"):
        check_name(name)


@quick
@given(st.one_of(st.text(max_size=120), others))
def test_a_name_is_returned_as_it_is_or_refused(name: object) -> None:
    try:
        checked = check_name(name)
    except InvalidInputError:
        return
    assert checked is name
    assert 1 <= len(checked) <= 100
    assert not {unicodedata.category(each) for each in checked} & {"Cc", "Cs", "Zl", "Zp"}


# URLs ------------------------------------------------------------------------------------------

Check = Callable[[object], str]
both = pytest.mark.parametrize("check", [check_url, check_probe_url])


@both
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/",
        "HTTPS://example.com/a/b",
        "http://localhost:8000/health",
        "http://127.0.0.1:5000/",
        "http://[::1]:5000/",
        "http://köln.example/straße",
    ],
)
def test_an_http_url_with_a_host_can_be_called_and_kept(check: Check, url: str) -> None:
    assert check(url).lower() == url.lower()


def test_a_url_to_call_may_hold_user_info_and_a_query() -> None:
    url = "https://user:password@example.com/?token=abc#part"
    assert check_url(url) == url


@both
@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("ftp://example.com/", "ftp"),
        ("file:///etc/passwd", "file"),
        ("javascript:alert(1)", "javascript"),
        ("example.com/health", ""),
        ("//example.com/", ""),
        ("", ""),
    ],
)
def test_another_scheme_is_refused_and_named(check: Check, url: str, scheme: str) -> None:
    message = f"^The URL must begin with http:// or https://, not '{scheme}'.$"
    with pytest.raises(InvalidInputError, match=message):
        check(url)


@both
@pytest.mark.parametrize("url", ["http://", "http:///path", "http://:80/", "https://?a=b"])
def test_a_url_without_a_host_is_refused(check: Check, url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^The URL has no host"):
        check(url)


@both
@pytest.mark.parametrize(
    "url", ["http://h:port/", "http://h:99999/", "http://h:-1/", "http://[::1/"]
)
def test_a_url_that_cannot_be_read_is_refused(check: Check, url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^The URL cannot be read"):
        check(url)


@both
@pytest.mark.parametrize("character", ["\x00", "\n", "\x1b", "\x7f", "\x85", "\ud800", "\u2028"])
def test_a_control_character_in_a_url_is_refused(check: Check, character: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^The URL must not hold control characters"):
        check(f"http://example.com/a{character}b")


@both
@pytest.mark.parametrize("url", [None, 5, b"http://example.com/", ["http://example.com/"]])
def test_a_url_that_is_no_string_is_refused_with_its_type(check: Check, url: object) -> None:
    with pytest.raises(InvalidInputError, match=f"must be a string, not {type(url).__name__}"):
        check(url)


#: Texts that look somewhat like a URL.
almost_urls = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "http:", "http://", "HTTPS://", "http://[", "http://a@", "ftp://"]),
        st.text(max_size=10),
        st.sampled_from(["", ":", ":80", ":99999", ":x", "]", "]:80", "@", "/", "?", "#"]),
        st.text(max_size=10),
    ),
)


@quick
@given(st.sampled_from([check_url, check_probe_url]), st.one_of(almost_urls, others))
def test_a_url_is_let_pass_or_refused_whatever_it_is(check: Check, url: object) -> None:
    try:
        checked = check(url)
    except InvalidInputError:
        return
    assert checked.strip().lower().startswith(("http://", "https://"))


@both
@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@host:port/",
        "http://user:s3cret#@host/",
        "http://user:s3cret/x@host/",
        "http://user:s3cret@[host/",
        "ftp://user:s3cret@host/?token=s3cret",
        "http://user:s3cret@/?token=s3cret",
        "http://user:s3cret@host/\x00",
    ],
)
def test_a_refusal_repeats_no_secret_not_even_in_its_traceback(check: Check, url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check(url)
    shown = "".join(traceback.format_exception_only(refused.value))
    causes = [refused.value.__cause__, refused.value.__context__]
    if refused.value.__suppress_context__:
        causes = []
    assert "s3cr" not in shown
    assert not [cause for cause in causes if "s3cr" in str(cause)]


# Probe URLs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://user@example.com/", "user name or password"),
        ("https://user:s3cret@example.com/", "user name or password"),
        ("https://example.com/?token=s3cret", "query string or fragment"),
        ("https://example.com/#s3cret", "query string or fragment"),
    ],
)
def test_a_probe_url_holds_no_secrets(url: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as refused:
        check_probe_url(url)
    assert "s3cret" not in str(refused.value)


def test_a_probe_url_is_kept_without_space_around_it() -> None:
    assert check_probe_url("  https://example.com/health \n") == "https://example.com/health"


def test_a_probe_url_fits_its_column() -> None:
    url = "http://example.com/".ljust(500, "a")
    assert check_probe_url(url) == url
    with pytest.raises(InvalidInputError, match=r"^A probe URL must have at most 500 characters"):
        check_probe_url(f"{url}a")


@quick
@given(almost_urls)
def test_whatever_is_kept_can_be_called_and_has_nothing_to_redact(url: Any) -> None:
    try:
        kept = check_probe_url(url)
    except InvalidInputError:
        return
    assert check_url(kept) == kept
    assert check_probe_url(kept) == kept
    assert not set("?#") & set(kept)
