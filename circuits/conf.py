"""The site's settings: one dict, ``CIRCUITS``, validated as a whole before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS

from . import patterns
from .core.families import family_of
from .core.policy import POLICY_NAMES, Limits, check_number, check_policy_value
from .exceptions import InvalidInputError, shown
from .validation import (
    LEAST_STATUS,
    MOST_STATUS,
    STATUSES_LENGTH,
    check_name,
    check_probe_url,
    check_url,
    parse_statuses,
)

#: Seconds that a remote call may take, unless the circuit or the call sets a timeout.
DEFAULT_TIMEOUT: Final = 10.0

TIMEOUT_LIMITS: Final = Limits(0.001, 300)

#: A host, a domain with a leading dot, an IPv6 address in brackets, or ``*`` for any host.
_HOST: Final = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.IGNORECASE)

#: A bearer token as an HTTP header can carry it; empty for none.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]*")

#: A function that yields a sentence for each thing wrong with the value of a key.
Check = Callable[[str, object], Iterator[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who is notified when a circuit opens or closes.

    Args:
        emails: Addresses that receive a mail.
        webhook: A URL that receives a POST request; it is a secret.
        quiet_seconds: Seconds after a notice in which the same circuit causes no further notice.
            Changes in that time are reported together afterwards.
    """

    emails: Sequence[str] = ()
    webhook: str = field(default="", repr=False)
    quiet_seconds: float = 300.0

    def __bool__(self) -> bool:
        return bool(self.emails or self.webhook)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings in force. Durations are in seconds.

    Args:
        database: The alias of the database that keeps the circuits.
        snapshot_seconds: For how long a process may act on what it last read of a circuit.
        flush_seconds: The time between two writes of the outcomes a process has gathered.
        max_circuits: The most circuits there may be, as a guard against runaway names.
        max_snapshots: The most circuits a process keeps in memory, those used last.
        on_store_error: What calls do while the database fails: ``local`` lets each process go on by
            itself, ``raise`` raises the error.
        store_retry_seconds: The time before a failed database is tried again.
        store_wait_seconds: The longest that a call waits for the database before it goes on
            without it.
        failure_statuses: HTTP statuses that count as failures.
        history_days: How many days a change is kept in the history.
        history_rows: How many changes of all circuits together are kept.
        statistics_days: How many days the counts of each minute are kept; 0 keeps none.
        idle_days: After how many days without a call a member of a family is deleted; 0 keeps all.
        defaults: The policy of a new circuit.
        circuits: Policies by name, which override the defaults. These circuits are made at once.
        prometheus: Whether calls and transitions are counted for Prometheus.
        metrics_circuits: The most circuits that the metrics include, those that are down first.
        opentelemetry: Whether calls set attributes of OpenTelemetry's spans and are counted for its
            metrics, if it is installed.
        sentry: Whether changes of state are breadcrumbs for Sentry, if it is installed.
        sentry_issues: Whether each incident is an issue in Sentry besides.
        notify: Who is notified when a circuit opens or closes.
        probe_hosts: Hosts that a probe may call, as in ``ALLOWED_HOSTS``.
        redact: Patterns of secrets of this site, which are masked besides the known ones.
        health_token: A token that opens the health and metrics pages; empty for staff only.
        site_url: Where the site is found, such as ``https://site.example``: mails, logs and
            exceptions link to its admin. Empty for no links.
        allow_injection: Whether faults may be injected into calls, to try out fallbacks.
        test_in_memory: Whether the site's tests keep the circuits in memory, new for each test.
    """

    database: str = DEFAULT_DB_ALIAS
    snapshot_seconds: float = 0.2
    flush_seconds: float = 5.0
    max_circuits: int = 10_000
    max_snapshots: int = 10_000
    on_store_error: str = "local"
    store_retry_seconds: float = 1.0
    store_wait_seconds: float = 1.0
    failure_statuses: frozenset[int] = frozenset(range(500, 600))
    history_days: float = 90
    history_rows: int = 1_000_000
    statistics_days: float = 7
    idle_days: float = 30
    defaults: Mapping[str, Any] = field(default_factory=dict)
    circuits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prometheus: bool = False
    metrics_circuits: int = 1_000
    opentelemetry: bool = True
    sentry: bool = True
    sentry_issues: bool = False
    notify: Notify = field(default_factory=Notify)
    probe_hosts: Sequence[str] = ("*",)
    redact: Sequence[re.Pattern[str]] = ()
    health_token: str = field(default="", repr=False)
    site_url: str = ""
    allow_injection: bool = False
    test_in_memory: bool = False

    def circuit(self, name: str, shared: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the field values of a new circuit.

        The settings' entry for the name overrides the values that code has declared. These override
        the values of its family, and these override the settings' defaults.

        Args:
            shared: The values of its family; None for those that settings and code give the family.
        """
        if shared is None:
            family = family_of(name)
            shared = {**_declared.get(family, {}), **self.circuits.get(family, {})}
        own = {**_declared.get(name, {}), **self.circuits.get(name, {})}
        inherited = {key: shared[key] for key in shared if key != "probe_url"}
        return {**self.defaults, **inherited, **own}


_DEFAULT_KEYS: Final = (*POLICY_NAMES, "timeout", "failure_statuses")

_KEYS: Final = {key.upper(): key for key in Config.__dataclass_fields__}


def problems(raw: object) -> Iterator[str]:
    """Yield one sentence for each thing that is wrong with a ``CIRCUITS`` setting."""
    if not isinstance(raw, Mapping):
        yield f"CIRCUITS must be a dict, not {type(raw).__name__}."
        return
    for key, value in raw.items():
        if key in _KEYS:
            yield from _CHECKS[key](key, value)
        else:
            yield f"CIRCUITS has an unknown key {shown(key)}; known are {', '.join(_KEYS)}."


def _number(least: float, most: float, *, whole: bool = False) -> Check:
    def check(key: str, value: object) -> Iterator[str]:
        yield from _problem("CIRCUITS", check_number, key, value, Limits(least, most), whole=whole)

    return check


def _check_database(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, str) or value not in settings.DATABASES:
        yield f"CIRCUITS: {key} names {shown(value)}, which is not in DATABASES."


def _check_on_store_error(key: str, value: object) -> Iterator[str]:
    if value not in ("local", "raise"):
        yield f"CIRCUITS: {key} must be 'local' or 'raise', not {shown(value)}."


def _check_switch(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"CIRCUITS: {key} must be True or False, not {shown(value)}."


def _check_token(key: str, value: object) -> Iterator[str]:
    # The value is a secret, so no message repeats it.
    if not isinstance(value, str):
        yield f"CIRCUITS: {key} must be a text, not {type(value).__name__}."
    elif not _TOKEN.fullmatch(value):
        yield f"CIRCUITS: {key} may hold only letters, digits and -._~+/=, as a bearer token does."


def _check_hosts(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, (list, tuple)):
        yield f"CIRCUITS: {key} must be a list of hosts, not {shown(value)}."
        return
    for host in value:
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            yield (
                f"CIRCUITS: {key} must hold hosts without scheme or port, such as "
                f"'status.example.com', '.example.com' or '*', not {shown(host)}."
            )


def _check_redact(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, (list, tuple)):
        yield f"CIRCUITS: {key} must be a list of regular expressions, not {shown(value)}."
        return
    for pattern in value:
        yield from _problem(f"CIRCUITS: {key}", patterns.compiled, pattern)


def _check_site_url(key: str, value: object) -> Iterator[str]:
    where = f"CIRCUITS: {key}"
    if value == "":
        return
    wrong = list(_problem(where, check_url, value))
    yield from wrong
    if not wrong and isinstance(value, str):
        parts = urlsplit(value)
        if parts.query or parts.fragment or parts.username is not None or value != value.strip():
            # The value is not repeated, since it may hold a password.
            yield f"{where} must be an address such as 'https://site.example', and nothing else."


def _check_statuses(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, (list, tuple, set, frozenset, range)) or not all(
        isinstance(status, int) and LEAST_STATUS <= status <= MOST_STATUS for status in value
    ):
        known = f"a list of HTTP statuses from {LEAST_STATUS} to {MOST_STATUS}"
        yield f"CIRCUITS: {key} must be {known}, not {shown(value)}."


def _check_defaults(key: str, value: object) -> Iterator[str]:
    yield from _policy_problems("CIRCUITS['DEFAULTS']", value, _DEFAULT_KEYS)


def _check_circuits(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"CIRCUITS['CIRCUITS'] must be a dict of name: policy, not {type(value).__name__}."
        return
    for name, policy in value.items():
        where = f"CIRCUITS['CIRCUITS'][{shown(name)}]"
        yield from _problem(where, check_name, name)
        yield from _policy_problems(where, policy, [*_DEFAULT_KEYS, "probe_url"])


def _policy_problems(where: str, policy: object, known: Sequence[str]) -> Iterator[str]:
    if not isinstance(policy, Mapping):
        yield f"{where} must be a dict of policy fields, not {type(policy).__name__}."
        return
    for key, value in policy.items():
        if key not in known:
            yield f"{where} has an unknown key {shown(key)}; known are {', '.join(known)}."
        else:
            yield from _problem(where, _check_circuit_value, key, value)


def _check_circuit_value(key: str, value: object) -> None:
    if key in POLICY_NAMES:
        check_policy_value(key, value)
    elif key == "timeout":
        check_number(key, value, TIMEOUT_LIMITS, whole=False)
    elif key == "probe_url":
        check_probe_url(value)
    elif not isinstance(value, str):
        raise InvalidInputError(f"{key} must be a text such as '500-599, 429', not {shown(value)}.")
    elif len(value) > STATUSES_LENGTH:
        raise InvalidInputError(
            f"{key} must have at most {STATUSES_LENGTH} characters, not {len(value)}; "
            "write ranges such as 500-599."
        )
    else:
        parse_statuses(value)


def _problem(where: str, check: Callable[..., object], *args: Any, **kwargs: Any) -> Iterator[str]:
    try:
        check(*args, **kwargs)
    except InvalidInputError as error:
        yield f"{where}: {error}"


_NOTIFY_KEYS: Final = {
    "EMAILS": "emails",
    # Django's error pages and mails hide a value with SECRET in its name.
    "SECRET_WEBHOOK": "webhook",
    "QUIET_SECONDS": "quiet_seconds",
}

#: The old name of that key, which Django does not hide.
OLD_WEBHOOK: Final = "WEBHOOK"


def _check_notify(key: str, value: object) -> Iterator[str]:
    where = f"CIRCUITS[{key!r}]"
    if not isinstance(value, Mapping):
        yield f"{where} must be a dict with {', '.join(_NOTIFY_KEYS)}, not {type(value).__name__}."
        return
    for unknown in value.keys() - _NOTIFY_KEYS.keys() - {OLD_WEBHOOK}:
        yield f"{where} has an unknown key {shown(unknown)}; known are {', '.join(_NOTIFY_KEYS)}."
    emails = value.get("EMAILS", ())
    if not isinstance(emails, (list, tuple)) or not all(
        isinstance(email, str) and "@" in email for email in emails
    ):
        yield f"{where}: EMAILS must be a list of mail addresses, not {shown(emails)}."
    yield from _webhook_problems(where, value)
    quiet = value.get("QUIET_SECONDS", 0)
    yield from _problem(where, check_number, "QUIET_SECONDS", quiet, Limits(0, 86_400), whole=False)


def _webhook_problems(where: str, notify: Mapping[str, Any]) -> Iterator[str]:
    given = [name for name in ("SECRET_WEBHOOK", OLD_WEBHOOK) if notify.get(name)]
    if len(given) > 1:
        yield f"{where}: WEBHOOK is the old name of SECRET_WEBHOOK; leave it out."
    for name in given:
        yield from _problem(f"{where}: {name}", check_url, notify[name])


_CHECKS: Final[dict[str, Check]] = {
    "DATABASE": _check_database,
    "SNAPSHOT_SECONDS": _number(0, 60),
    "FLUSH_SECONDS": _number(0.1, 3600),
    "MAX_CIRCUITS": _number(1, 10_000_000, whole=True),
    "MAX_SNAPSHOTS": _number(1, 10_000_000, whole=True),
    "ON_STORE_ERROR": _check_on_store_error,
    "STORE_RETRY_SECONDS": _number(0, 3600),
    "STORE_WAIT_SECONDS": _number(0.01, 3600),
    "FAILURE_STATUSES": _check_statuses,
    "HISTORY_DAYS": _number(1, 36_500),
    "HISTORY_ROWS": _number(1, 100_000_000, whole=True),
    "STATISTICS_DAYS": _number(0, 36_500),
    "IDLE_DAYS": _number(0, 36_500),
    "DEFAULTS": _check_defaults,
    "CIRCUITS": _check_circuits,
    "PROMETHEUS": _check_switch,
    "METRICS_CIRCUITS": _number(1, 10_000_000, whole=True),
    "OPENTELEMETRY": _check_switch,
    "SENTRY": _check_switch,
    "SENTRY_ISSUES": _check_switch,
    "NOTIFY": _check_notify,
    "PROBE_HOSTS": _check_hosts,
    "REDACT": _check_redact,
    "HEALTH_TOKEN": _check_token,
    "SITE_URL": _check_site_url,
    "ALLOW_INJECTION": _check_switch,
    "TEST_IN_MEMORY": _check_switch,
}


_config: Config | None = None
_declared: dict[str, Mapping[str, Any]] = {}


def get() -> Config:
    """Return the settings in force.

    Raises:
        ImproperlyConfigured: The ``CIRCUITS`` setting is wrong; the message says where.
    """
    global _config
    if _config is None:
        _config = load(getattr(settings, "CIRCUITS", {}))
    return _config


def alias() -> str | None:
    """Return the database alias that the setting names, whatever else is wrong with the setting.

    Returns:
        None if there is no such alias. Django's checks ask before ours have reported that.
    """
    raw = getattr(settings, "CIRCUITS", {})
    named = raw.get("DATABASE", DEFAULT_DB_ALIAS) if isinstance(raw, Mapping) else None
    return named if isinstance(named, str) and named in settings.DATABASES else None


def declare(name: str, **policy: Any) -> None:
    """Remember the policy that code declares for a circuit, for when the circuit is made."""
    _declared[name] = policy


def declared(name: str) -> Mapping[str, Any]:
    """Return the policy that code has declared for a circuit."""
    return _declared.get(name, {})


def named() -> set[str]:
    """Return the names of circuits that settings or code name, whether or not they exist yet."""
    return {*get().circuits, *_declared}


def forget_declared() -> None:
    """Forget all policies that code has declared."""
    _declared.clear()


def load(raw: Any) -> Config:
    """Return a ``CIRCUITS`` setting as a :class:`Config`.

    Raises:
        ImproperlyConfigured: The setting is wrong; the message says where.
    """
    problem = next(problems(raw), None)
    if problem is not None:
        del raw  # Django's debug page shows the local variables, and this one may hold secrets
        raise ImproperlyConfigured(problem)
    values = {_KEYS[key]: value for key, value in raw.items()}
    if "failure_statuses" in values:
        values["failure_statuses"] = frozenset(values["failure_statuses"])
    if "redact" in values:
        values["redact"] = tuple(map(patterns.compiled, values["redact"]))
    if "notify" in values:
        values["notify"] = _notify(values["notify"])
    return Config(**values)


def _notify(raw: Mapping[str, Any]) -> Notify:
    values = {field: raw[key] for key, field in _NOTIFY_KEYS.items() if key in raw}
    if raw.get(OLD_WEBHOOK):
        values["webhook"] = raw[OLD_WEBHOOK]
    return Notify(**values)


def _forget(*, setting: str, **_: object) -> None:
    global _config
    if setting == "CIRCUITS":
        _config = None


setting_changed.connect(_forget)
