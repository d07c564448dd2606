"""Faults that are named as equivalent are found by what they change, whatever their numbers."""

from __future__ import annotations

from tests.mutants.__main__ import by_entry, change_of, unclear

SHOWN = """\
# circuits.core.rules.x_limit__mutmut_1: survived
--- circuits/core/rules.py
+++ circuits/core/rules.py
@@ -2,6 +2,6 @@
     \"\"\"Return the limit.\"\"\"
     if calls - failures < 1:
-        return 0.0
+        return 1.0
     return most(
         calls,
"""

OVER_LINES = """\
# circuits.core.rules.x_limit__mutmut_2: survived
--- circuits/core/rules.py
+++ circuits/core/rules.py
@@ -4,8 +4,4 @@
         return 0.0
-    return most(
-        calls,
-    )
+    return None
"""

CHANGES = {
    "circuits.core.rules.x_limit__mutmut_1": change_of(SHOWN),
    "circuits.core.rules.x_limit__mutmut_2": change_of(OVER_LINES),
    "circuits.core.rules.x_other__mutmut_1": change_of(SHOWN),
    "circuits.core.rules.xǁRuleǁlimit__mutmut_1": "a -> b",
    "circuits.core.rules.xǁRuleǁlimit__mutmut_2": "a -> b",
}


def named_by(*entries: str) -> dict[str, list[str]]:
    return by_entry(entries, list(CHANGES), CHANGES.__getitem__)


def test_a_change_is_the_lines_that_mutmut_takes_away_and_puts_there() -> None:
    assert change_of(SHOWN) == "return 0.0 -> return 1.0"
    assert change_of(OVER_LINES) == "return most( calls, ) -> return None"


def test_an_entry_names_the_fault_of_its_function_that_makes_its_change() -> None:
    entry = "circuits.core.rules.x_limit: return 0.0 -> return 1.0"
    assert named_by(entry) == {entry: ["circuits.core.rules.x_limit__mutmut_1"]}
    assert not unclear(named_by(entry))


def test_an_entry_without_a_change_names_all_faults_of_its_function_unseen() -> None:
    entry = "circuits.core.rules.xǁRuleǁlimit"
    nothing_shown: dict[str, str] = {}
    named = by_entry([entry], list(CHANGES), nothing_shown.__getitem__)
    assert named == {entry: [f"{entry}__mutmut_1", f"{entry}__mutmut_2"]}
    assert not unclear(named)


def test_an_entry_that_names_nothing_any_more_is_unclear() -> None:
    gone = ["circuits.core.rules.x_gone", "circuits.core.rules.x_limit: return 0.0 -> return 2.0"]
    assert unclear(named_by(*gone)) == gone


def test_an_entry_whose_change_several_faults_make_is_unclear() -> None:
    entry = "circuits.core.rules.xǁRuleǁlimit: a -> b"
    assert unclear(named_by(entry)) == [entry]
