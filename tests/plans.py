"""Examines the plans by which the database executes queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.db import connections
from django.test.utils import CaptureQueriesContext

ALIAS: Final = "circuits"

_ANALYZE: Final = {
    "sqlite": "ANALYZE",
    "postgresql": "VACUUM ANALYZE circuits_circuit, circuits_transition",
    "mysql": "ANALYZE TABLE circuits_circuit, circuits_transition",
}


def analyze() -> None:
    """Let the database refresh its statistics, as it would do itself in time."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(_ANALYZE[connections[ALIAS].vendor])


def detours(work: Callable[[], object], *, may_sort: bool = False) -> list[str]:
    """Do some work, and return its queries that read a whole table or sort, each with its plan.

    Args:
        may_sort: Whether sorting is allowed, for a query that finds few rows.
    """
    with CaptureQueriesContext(connections[ALIAS]) as captured:
        work()
    asked = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    assert asked
    is_scan, is_sort = _DETOURS[connections[ALIAS].vendor]
    return [
        f"{sql}\n{plan}"
        for sql, plan in _planned(asked)
        if any(is_scan(sql, step) or (is_sort(step) and not may_sort) for step in plan)
    ]


def _planned(queries: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    explain = "EXPLAIN QUERY PLAN" if connections[ALIAS].vendor == "sqlite" else "EXPLAIN"
    for sql in queries:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(f"{explain} {sql}")
            names = [column[0] for column in cursor.description]
            steps = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        yield sql, [_words(step) for step in steps]


def _words(step: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in step.items())


def _is_scan_on_sqlite(sql: str, step: str) -> bool:
    # The table is the index of its keys: the first rows of all in their order are no detour.
    is_whole = "SCAN circuits_" in step and "INDEX" not in step
    return is_whole and ("WHERE" in sql or "LIMIT" not in sql)


_DETOURS: Final[dict[str, tuple[Callable[[str, str], bool], Callable[[str], bool]]]] = {
    "sqlite": (_is_scan_on_sqlite, lambda step: "TEMP B-TREE" in step),
    "postgresql": (
        lambda sql, step: "Seq Scan on circuits_" in step,
        lambda step: "Sort " in step,
    ),
    "mysql": (
        lambda sql, step: "table: circuits_" in step and "type: ALL" in step,
        lambda step: "filesort" in step or "temporary" in step,
    ),
}
