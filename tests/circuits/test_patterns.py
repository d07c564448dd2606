"""The patterns by which a site may mask further secrets."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.exceptions import InvalidInputError
from circuits.patterns import PATTERN_LENGTH, compiled

GOOD = [
    "hunter2",
    r"cust-\d+",
    r"sk_live_\w+",
    r"(?i)iban\W[a-z]{2}\d{10,30}",
    r"(?<=token )\S+",
    r"(?:key|word)=\S+",
    r"Customer: \w++ \w++ \w+",
    r"[^\]+*]+ [)(*]",
    r"\d{3}-\d{4}",
    r"a(?=b+)",
    "red|green|blue|white|black|pink|grey",
    re.compile("x", re.IGNORECASE),
]

#: Patterns that take for ever on some text, or may do so.
SLOW = [
    "(a+)+$",
    "(?:a|aa)+$",
    "(a*)*b",
    r"(\w+\s?)*$",
    "(?:a{1,9}){1,9}b",
    r"\w+\d+!",
    ".*.*x",
    "a{1,500}a{1,500}b",
    "[a*]+(b+)+",
    "a?" * 30 + "a" * 30,
    "(a|a)" * 20 + "b",
    r"(a+)\1",
    "(?P<q>a)(?P=q)",
    "(?x) (a+) + $",
    re.compile("(a+) +$", re.VERBOSE),
    "(a+)(?#so)+$",
]


@pytest.mark.parametrize("pattern", GOOD)
def test_what_may_be_added(pattern: str | re.Pattern[str]) -> None:
    assert isinstance(compiled(pattern), re.Pattern)


def test_flags_are_kept() -> None:
    assert compiled(re.compile("x", re.IGNORECASE)).match("X")


@pytest.mark.parametrize("pattern", SLOW)
def test_what_might_take_for_ever(pattern: str | re.Pattern[str]) -> None:
    with pytest.raises(InvalidInputError, match="might take for ever on some texts; "):
        compiled(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["(", "*", "[", "a**", "", "x" * (PATTERN_LENGTH + 1), 5, None, b"x", re.compile(b"x")],
)
def test_what_is_no_pattern(pattern: object) -> None:
    with pytest.raises(InvalidInputError, match=r"is no regular expression|must be a text of 1 to"):
        compiled(pattern)


pieces = st.sampled_from(
    ["a", "b", ".", r"\w", "[ab]", "*", "+", "?", "{1,50}", "{2}", "(", ")", "(?:", "|", "$", "+?"]
)


@settings(deadline=None, max_examples=500, derandomize=True)
@given(st.lists(pieces, min_size=1, max_size=20).map("".join), st.sampled_from(["a", "ab", "b"]))
def test_whatever_is_taken_is_fast(pattern: str, text: str) -> None:
    try:
        taken = compiled(pattern)
    except InvalidInputError:
        return
    began = time.process_time()
    list(taken.finditer((text * 1000)[:999] + "!"))
    assert time.process_time() - began < 5
