"""The integrations that are connected at the start, by settings and installed packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from circuits import checks, conf
from circuits.integrations import metrics, otel, setup
from circuits.process import counts, observers

SCRIPT = """
import json, sys, django
django.setup()
from django.db import connections
assert not any(connection.connection for connection in connections.all()), "asked a database"
from circuits.process import counts, observers
listening = [bool(counts.of("payments")), observers.listening()]
loaded = [name for name in ("prometheus_client", "opentelemetry.trace") if name in sys.modules]
print(json.dumps([listening, loaded]))
"""


@pytest.fixture(autouse=True)
def _listeners() -> Iterator[None]:
    yield
    metrics.disconnect()
    otel.disconnect()


@pytest.fixture
def config(settings: Settings) -> Any:
    """Return a function that sets keys of CIRCUITS, and removes those that are None."""

    def change(**keys: Any) -> None:
        merged = {**settings.CIRCUITS, **keys}
        settings.CIRCUITS = {key: value for key, value in merged.items() if value is not None}

    return change


def started(**environment: str) -> list[list[Any]]:
    """Start a process of the reference project; return what it observes and has loaded.

    That is whether calls are counted, how many observers there are, and the loaded modules.
    """
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "cbproject.settings", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    listening: list[list[Any]] = json.loads(answer.stdout)
    return listening


def test_nobody_listens_and_nothing_is_loaded_unless_asked_for() -> None:
    assert started() == [[False, 0], []]


def test_a_site_turns_them_on() -> None:
    both = started(CIRCUITS_PROMETHEUS="true", CIRCUITS_OPENTELEMETRY="true")
    assert both == [
        [True, 1],
        ["prometheus_client", "opentelemetry.trace"],
    ]


def test_opentelemetry_is_used_where_it_is_installed(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(OPENTELEMETRY=None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    setup.connect()
    assert not observers.listening()
    monkeypatch.undo()
    config(OPENTELEMETRY=None)
    setup.connect()
    assert observers.listening()


def test_a_site_can_turn_opentelemetry_off(config: Any) -> None:
    config(OPENTELEMETRY=False)
    setup.connect()
    assert not observers.listening()


def test_prometheus_asked_for_but_not_installed(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(PROMETHEUS=True)
    assert checks.check_settings() == []
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    setup.connect()
    assert counts.of("payments") is None
    [error] = checks.check_settings()
    assert error.id == "circuits.E004"
    assert "django-circuits[prometheus]" in (error.hint or "")


def test_a_folder_for_several_processes_must_exist(
    config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    assert checks.check_settings() == []
    config(PROMETHEUS=True)
    assert [error.id for error in checks.check_settings()] == ["circuits.E005"]
    (tmp_path / "missing").mkdir()
    assert checks.check_settings() == []


def test_wrong_settings_are_left_to_the_checks(settings: Settings) -> None:
    settings.CIRCUITS = {"PROMETHEUS": True, "UNKNOWN": 1}
    setup.connect()
    assert counts.of("payments") is None
    assert [error.id for error in checks.check_settings()] == ["circuits.E001"]


@pytest.mark.parametrize("key", ["PROMETHEUS", "OPENTELEMETRY"])
def test_a_switch_is_true_or_false(key: str) -> None:
    assert list(conf.problems({key: 1})) == [f"CIRCUITS: {key} must be True or False, not 1."]


@pytest.mark.parametrize("token", [5, "s3cret s3cret", "s3cr\u00e8t", "s3cret\n"])
def test_a_bad_token_is_refused_without_being_told(token: object) -> None:
    [problem] = conf.problems({"HEALTH_TOKEN": token})
    assert problem.startswith("CIRCUITS: HEALTH_TOKEN m")
    assert "s3cr" not in problem


def test_the_token_is_not_told_with_the_settings() -> None:
    assert "s3cret" not in repr(conf.load({"HEALTH_TOKEN": "s3cret"}))
