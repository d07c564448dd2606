"""Faults that are named as equivalent are found by what they change, whatever their numbers."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.__main__ import by_entry, changes_in, changes_of, is_idle, unclear

#: A module as mutmut writes it.
RULES = """
def x_limit__mutmut_orig(calls):
    if calls < 1:
        return 0.0
    return most(
        calls,
    )


def x_limit__mutmut_1(calls):
    if calls < 1:
        return 1.0
    return most(
        calls,
    )


def x_limit__mutmut_2(calls):
    if calls < 1:
        return 0.0
    return None


class Rule:
    async def xǁRuleǁname__mutmut_orig(self, name="a"):
        return name

    async def xǁRuleǁname__mutmut_1(self, name="XXaXX"):
        return name
"""

LIMIT = "circuits.core.rules.x_limit"
CHANGES = {
    f"{LIMIT}__mutmut_1": "return 0.0 -> return 1.0",
    f"{LIMIT}__mutmut_2": "a -> b",
    f"{LIMIT}__mutmut_3": "a -> b",
    "circuits.core.rules.x_other__mutmut_1": "return 0.0 -> return 1.0",
}


def test_a_change_is_the_lines_that_are_taken_away_and_those_that_are_put_there() -> None:
    assert changes_of(RULES) == {
        "x_limit__mutmut_1": "return 0.0 -> return 1.0",
        "x_limit__mutmut_2": "return most( calls, ) -> return None",
        "xǁRuleǁname__mutmut_1": (
            'async def xǁRuleǁname__mutmut_orig(self, name="a"): -> '
            'async def xǁRuleǁname__mutmut_orig(self, name="XXaXX"):'
        ),
    }


def test_the_changes_of_a_room_are_those_of_its_modules(tmp_path: Path) -> None:
    for module in ("core/rules.py", "calls/rules.py"):
        (tmp_path / "circuits" / module).parent.mkdir(parents=True)
        (tmp_path / "circuits" / module).write_text(RULES)
    assert changes_in(tmp_path, "core").keys() == {
        f"circuits.core.rules.{name}" for name in changes_of(RULES)
    }


def test_an_entry_names_the_fault_of_its_function_that_makes_its_change() -> None:
    named = by_entry([f"{LIMIT}: return 0.0 -> return 1.0"], CHANGES)
    assert list(named.values()) == [[f"{LIMIT}__mutmut_1"]]
    assert not unclear(named)


def test_an_entry_without_a_change_names_all_faults_of_its_function() -> None:
    named = by_entry([LIMIT], CHANGES)
    assert named == {LIMIT: [f"{LIMIT}__mutmut_{number}" for number in (1, 2, 3)]}
    assert not unclear(named)


def test_an_entry_that_names_nothing_any_more_is_unclear() -> None:
    gone = ["circuits.core.rules.x_gone", f"{LIMIT}: return 0.0 -> return 2.0"]
    assert unclear(by_entry(gone, CHANGES)) == gone


def test_an_entry_whose_change_several_faults_make_is_unclear() -> None:
    entry = f"{LIMIT}: a -> b"
    assert unclear(by_entry([entry], CHANGES)) == [entry]


def test_another_type_in_a_cast_changes_nothing() -> None:
    for change in (
        'read(cast("Body", body)) -> read(cast(None, body))',
        "return cast(Callable[P, R], call) -> return cast(None, call)",
        'cast("httpx.Body", body), -> cast("XXhttpx.BodyXX", body),',
    ):
        assert is_idle(change), change
    for change in (
        'read(cast("Body", body)) -> read(cast("Body", None))',
        'read(cast("Body", body)) -> read(cast(body))',
        "broadcast(a, b) -> broadcast(None, b)",
    ):
        assert not is_idle(change), change


def test_another_key_of_what_is_done_once_a_minute_changes_nothing() -> None:
    for key in ("None", '"XXflushXX"', '"FLUSH"'):
        assert is_idle(f'if once_a_minute.is_due("flush"): -> if once_a_minute.is_due({key}):'), key
    assert not is_idle('if is_due("flush"): -> if not is_due("flush"):')
    assert not is_idle('if is_due("flush"): -> if is_due():')
