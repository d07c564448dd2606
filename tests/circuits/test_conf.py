"""The CIRCUITS setting: which values each key may have, and which are in effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from circuits import conf
from circuits.conf import Config, load, problems
from circuits.core.policy import POLICY_LIMITS

NAN, INF = float("nan"), float("inf")

GOOD: list[tuple[str, Any]] = [
    ("DATABASE", "default"),
    ("DATABASE", "circuits"),
    ("SNAPSHOT_SECONDS", 0),
    ("SNAPSHOT_SECONDS", 60),
    ("FLUSH_SECONDS", 0.1),
    ("FLUSH_SECONDS", 3600),
    ("MAX_CIRCUITS", 1),
    ("MAX_CIRCUITS", 10_000_000),
    ("MAX_SNAPSHOTS", 1),
    ("METRICS_CIRCUITS", 1),
    ("MAX_SNAPSHOTS", 10_000_000),
    ("ON_STORE_ERROR", "local"),
    ("ON_STORE_ERROR", "raise"),
    ("STORE_RETRY_SECONDS", 0),
    ("STORE_RETRY_SECONDS", 3600),
    ("STORE_WAIT_SECONDS", 0.01),
    ("STORE_WAIT_SECONDS", 3600),
    ("FAILURE_STATUSES", frozenset({100, 999})),
    ("FAILURE_STATUSES", frozenset()),
    ("HISTORY_DAYS", 1),
    ("HISTORY_DAYS", 36_500),
    ("HISTORY_ROWS", 1),
    ("HISTORY_ROWS", 100_000_000),
    ("STATISTICS_DAYS", 0),
    ("STATISTICS_DAYS", 36_500),
    ("IDLE_DAYS", 0),
    ("IDLE_DAYS", 36_500),
    ("PROMETHEUS", True),
    ("OPENTELEMETRY", False),
    ("SENTRY", False),
    ("SENTRY_ISSUES", True),
    ("ALLOW_INJECTION", True),
    ("TEST_IN_MEMORY", True),
    ("SITE_URL", ""),
    ("SITE_URL", "https://site.example:8443/shop/"),
    ("HEALTH_TOKEN", "a-long-random-text-that-nobody-guesses"),
    ("PROBE_HOSTS", ["*"]),
    ("PROBE_HOSTS", []),
    ("PROBE_HOSTS", (".example.com", "Status.Example", "my_service", "127.0.0.1", "[::1]")),
    ("REDACT", (re.compile(r"cust-\d+", re.IGNORECASE),)),
    ("REDACT", ()),
    ("DEFAULTS", {"threshold": 3, "delay": 0.5, "timeout": 2}),
    ("DEFAULTS", {"strategy": "rate", "respect_retry_after": True, "failure_statuses": "429"}),
    ("DEFAULTS", {"failure_statuses": ", ".join(["429"] * 40)}),
    ("CIRCUITS", {"payments": {"delay": 5, "probe_url": "https://pay.example/"}, "mail": {}}),
]

BAD: list[tuple[str, Any]] = [
    ("DATABASE", "elsewhere"),
    ("DATABASE", None),
    ("DATABASE", ["circuits"]),
    ("SNAPSHOT_SECONDS", -0.1),
    ("SNAPSHOT_SECONDS", 61),
    ("SNAPSHOT_SECONDS", NAN),
    ("SNAPSHOT_SECONDS", "1"),
    ("SNAPSHOT_SECONDS", True),
    ("FLUSH_SECONDS", 0),
    ("FLUSH_SECONDS", 3601),
    ("FLUSH_SECONDS", None),
    ("MAX_CIRCUITS", 0),
    ("MAX_SNAPSHOTS", 0),
    ("METRICS_CIRCUITS", 0),
    ("MAX_SNAPSHOTS", True),
    ("MAX_CIRCUITS", 10.0),
    ("MAX_CIRCUITS", 10_000_001),
    ("ON_STORE_ERROR", "ignore"),
    ("ON_STORE_ERROR", None),
    ("ON_STORE_ERROR", []),
    ("STORE_RETRY_SECONDS", -1),
    ("STORE_RETRY_SECONDS", 3601),
    ("STORE_RETRY_SECONDS", INF),
    ("STORE_WAIT_SECONDS", 0),
    ("STORE_WAIT_SECONDS", INF),
    ("FAILURE_STATUSES", 500),
    ("FAILURE_STATUSES", "500"),
    ("FAILURE_STATUSES", [99]),
    ("FAILURE_STATUSES", [1000]),
    ("FAILURE_STATUSES", ["500"]),
    ("FAILURE_STATUSES", [True]),
    ("HISTORY_DAYS", 0),
    ("HISTORY_DAYS", None),
    ("HISTORY_DAYS", 36_501),
    ("HISTORY_ROWS", 0),
    ("HISTORY_ROWS", 1.0),
    ("HISTORY_ROWS", 100_000_001),
    ("STATISTICS_DAYS", -1),
    ("STATISTICS_DAYS", "7"),
    ("IDLE_DAYS", -1),
    ("IDLE_DAYS", "30"),
    ("PROMETHEUS", 1),
    ("OPENTELEMETRY", "yes"),
    ("SENTRY", 1),
    ("SENTRY_ISSUES", "yes"),
    ("ALLOW_INJECTION", 1),
    ("TEST_IN_MEMORY", "always"),
    ("HEALTH_TOKEN", 5),
    ("PROBE_HOSTS", "example.com"),
    ("PROBE_HOSTS", None),
    ("PROBE_HOSTS", [5]),
    ("PROBE_HOSTS", [""]),
    ("PROBE_HOSTS", ["."]),
    ("PROBE_HOSTS", ["*.example.com"]),
    ("PROBE_HOSTS", ["https://example.com"]),
    ("PROBE_HOSTS", ["example.com:80"]),
    ("PROBE_HOSTS", ["example.com."]),
    ("PROBE_HOSTS", ["::1"]),
    ("PROBE_HOSTS", ["bücher.example"]),
    ("SITE_URL", None),
    ("SITE_URL", "site.example"),
    ("SITE_URL", "https://ann:pass@site.example"),
    ("SITE_URL", "https://site.example/?next=/"),
    ("SITE_URL", "https://site.example/#top"),
    ("SITE_URL", " https://site.example"),
    ("REDACT", r"cust-\d+"),
    ("REDACT", None),
    ("REDACT", ["("]),
    ("REDACT", ["(a+)+$"]),
    ("REDACT", [5]),
    ("DEFAULTS", {"strategy": "votes"}),
    ("DEFAULTS", {"respect_retry_after": 1}),
    ("DEFAULTS", {"failure_statuses": "5xx"}),
    ("DEFAULTS", {"failure_statuses": ", ".join(["429"] * 41)}),  # too long for its column
    ("DEFAULTS", {"failure_statuses": [500]}),
    ("NOTIFY", None),
    ("NOTIFY", {"EMAIL": "ops@example.org"}),
    ("NOTIFY", {"EMAILS": "ops@example.org"}),
    ("NOTIFY", {"EMAILS": ["nobody"]}),
    ("NOTIFY", {"EMAILS": 5}),
    ("NOTIFY", {"WEBHOOK": "ftp://example.org/"}),
    ("NOTIFY", {"SECRET_WEBHOOK": "ftp://example.org/"}),
    ("NOTIFY", {"SECRET_WEBHOOK": "https://a.example/", "WEBHOOK": "https://b.example/"}),
    ("NOTIFY", {"QUIET_SECONDS": -1}),
    ("DEFAULTS", None),
    ("DEFAULTS", ["threshold"]),
    ("CIRCUITS", None),
    ("CIRCUITS", ["payments"]),
    ("CIRCUITS", {"payments": 5}),
]


@pytest.mark.parametrize(("key", "value"), GOOD)
def test_a_good_value_is_taken(key: str, value: Any) -> None:
    assert getattr(load({key: value}), key.lower()) == value


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_one_problem_that_names_the_key(key: str, value: Any) -> None:
    (problem,) = problems({key: value})
    assert key in problem
    with pytest.raises(ImproperlyConfigured) as refused:
        load({key: value})
    assert str(refused.value) == problem


def test_who_is_told_can_be_set() -> None:
    assert not Config().notify
    notify = load({"NOTIFY": {"EMAILS": ["ops@example.org"], "QUIET_SECONDS": 60}}).notify
    assert (notify.emails, notify.webhook, notify.quiet_seconds) == (["ops@example.org"], "", 60)
    assert notify
    for name in ("WEBHOOK", "SECRET_WEBHOOK"):
        config = load({"NOTIFY": {name: "https://example.org/hook", "QUIET_SECONDS": 0}})
        assert config.notify.webhook == "https://example.org/hook"
        assert config.notify.quiet_seconds == 0
        assert "hook" not in repr(config)
    both = {"SECRET_WEBHOOK": "https://example.org/hook", "WEBHOOK": ""}
    assert load({"NOTIFY": both}).notify.webhook == "https://example.org/hook"


def test_every_key_is_tried_above() -> None:
    keys = {name.upper() for name in Config.__dataclass_fields__}
    assert {*(key for key, _ in GOOD), "NOTIFY"} == {key for key, _ in BAD} == keys


def test_an_empty_setting_is_the_defaults() -> None:
    assert load({}) == Config()
    assert (Config().database, Config().snapshot_seconds) == ("default", 0.2)
    assert (Config().max_circuits, Config().on_store_error) == (10_000, "local")
    assert Config().failure_statuses == set(range(500, 600))


def test_the_statuses_may_be_any_collection() -> None:
    for statuses in ([500, 503], (500, 503), {500, 503}, range(500, 504, 3)):
        assert load({"FAILURE_STATUSES": statuses}).failure_statuses == {500, 503}


@pytest.mark.parametrize("raw", [None, [], "circuits", 5])
def test_a_setting_that_is_no_dict_is_refused(raw: object) -> None:
    message = f"^CIRCUITS must be a dict, not {type(raw).__name__}.$"
    with pytest.raises(ImproperlyConfigured, match=message):
        load(raw)


@pytest.mark.parametrize("key", ["TRESHOLD", "database", "", 5, None])
def test_an_unknown_key_is_named_beside_the_known_ones(key: Any) -> None:
    (problem,) = problems({key: 1})
    assert problem.startswith(f"CIRCUITS has an unknown key {key!r}; known are DATABASE, ")


def test_every_problem_is_told() -> None:
    raw = {"SNAPSHOT_SECONDS": -1, "DEFAULTS": {"threshold": 0, "delay": -1}, "X": 1}
    assert len(list(problems(raw))) == 4


# Policies in DEFAULTS and CIRCUITS -------------------------------------------------------------

PLACES = [
    ("CIRCUITS['DEFAULTS']", lambda policy: {"DEFAULTS": policy}),
    ("CIRCUITS['CIRCUITS']['payments']", lambda policy: {"CIRCUITS": {"payments": policy}}),
]
in_both_places = pytest.mark.parametrize(("where", "place"), PLACES, ids=["defaults", "circuit"])


@in_both_places
@pytest.mark.parametrize("name", [*POLICY_LIMITS, "timeout"])
def test_a_policy_value_is_checked_where_it_stands(where: str, place: Any, name: str) -> None:
    limits = POLICY_LIMITS.get(name, conf.TIMEOUT_LIMITS)
    for value in limits:
        assert list(problems(place({name: value}))) == []
    for wrong in (limits.least - 1, limits.most + 1, NAN, "5", None, True):
        (problem,) = problems(place({name: wrong}))
        assert problem.startswith(f"{where}: {name} must be a ")
        assert problem.endswith(f", not {wrong!r}.")


@in_both_places
def test_a_count_in_a_policy_is_a_whole_number(where: str, place: Any) -> None:
    (problem,) = problems(place({"threshold": 2.5}))
    assert problem.startswith(f"{where}: threshold must be a whole number from 1 to ")


@in_both_places
@pytest.mark.parametrize("key", ["treshold", "state", "THRESHOLD", 5])
def test_an_unknown_policy_key_is_named(where: str, place: Any, key: Any) -> None:
    (problem,) = problems(place({key: 1}))
    assert problem.startswith(f"{where} has an unknown key {key!r}; known are threshold, delay, ")


@in_both_places
def test_a_policy_is_a_dict(where: str, place: Any) -> None:
    (problem,) = problems(place("fast"))
    assert problem == f"{where} must be a dict of policy fields, not str."


@pytest.mark.parametrize("name", ["", "a" * 101, "a\nb", " a", 5])
def test_a_name_in_the_settings_is_checked(name: Any) -> None:
    (problem,) = problems({"CIRCUITS": {name: {}}})
    assert problem.startswith(f"CIRCUITS['CIRCUITS'][{name!r}]: A circuit's name must ")


@pytest.mark.parametrize("url", ["ftp://example.com/", "http://u:s3cret@h/", "http://h/?s3cret", 5])
def test_a_probe_url_in_the_settings_is_checked_and_its_secrets_not_told(url: Any) -> None:
    (problem,) = problems({"CIRCUITS": {"payments": {"probe_url": url}}})
    assert problem.startswith("CIRCUITS['CIRCUITS']['payments']: ")
    assert "URL" in problem
    assert "s3cret" not in problem


def test_a_probe_url_is_for_one_circuit_and_not_for_all() -> None:
    (problem,) = problems({"DEFAULTS": {"probe_url": "http://example.com/"}})
    assert problem.startswith("CIRCUITS['DEFAULTS'] has an unknown key 'probe_url'")


# What is in force ------------------------------------------------------------------------------


def values_of(circuits: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return load({"CIRCUITS": circuits, "DEFAULTS": defaults}).circuit("payments")


def test_the_settings_of_a_circuit_win_over_code_and_code_over_the_defaults() -> None:
    defaults = {"threshold": 1, "delay": 1, "timeout": 1}
    assert values_of({}, {}) == {}
    assert values_of({}, defaults) == defaults
    conf.declare("payments", threshold=2, delay=2)
    assert values_of({}, defaults) == {"threshold": 2, "delay": 2, "timeout": 1}
    assert values_of({"payments": {"threshold": 3}}, defaults) == {
        "threshold": 3,
        "delay": 2,
        "timeout": 1,
    }


def test_what_is_said_of_one_circuit_is_not_said_of_another() -> None:
    conf.declare("mail", threshold=2)
    assert values_of({"mail": {"delay": 3}}, {}) == {}


def test_what_code_has_declared_can_be_forgotten() -> None:
    conf.declare("payments", threshold=2)
    conf.forget_declared()
    assert values_of({}, {}) == {}


def test_the_setting_is_read_once_and_again_when_a_test_changes_it(
    settings: Settings,
) -> None:
    settings.CIRCUITS = {"SNAPSHOT_SECONDS": 7}
    before = conf.get()
    assert before.snapshot_seconds == 7
    assert conf.get() is before
    settings.LANGUAGE_CODE = "nl"
    assert conf.get() is before
    settings.CIRCUITS = {"SNAPSHOT_SECONDS": 8}
    assert conf.get().snapshot_seconds == 8


def test_a_site_without_the_setting_has_the_defaults(settings: Settings) -> None:
    del settings.CIRCUITS
    assert conf.get() == Config()


def test_a_wrong_setting_is_told_at_its_first_use(settings: Settings) -> None:
    settings.CIRCUITS = {"DEFAULTS": {"threshold": 0}}
    with pytest.raises(ImproperlyConfigured, match="threshold must be a whole number from 1 "):
        conf.get()
