"""The site's settings: one dict, ``CIRCUITS``, validated as a whole before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .exceptions import InvalidInputError, shown
from .machine import POLICY_NAMES, Limits, check_number, check_policy_value
from .validation import check_name, check_probe_url, check_url, parse_statuses

#: Seconds a remote call may take, unless the circuit or the call says otherwise.
DEFAULT_TIMEOUT: Final = 10.0

TIMEOUT_LIMITS: Final = Limits(0.001, 3600)

#: A host, a domain with a dot before it, an IPv6 address in brackets, or any of them.
_HOST: Final = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.IGNORECASE)

#: What an HTTP header can carry as a bearer token; empty for none.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]*")

#: Yields what is wrong with the value of a key.
Check = Callable[[str, object], Iterator[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who is told when a circuit opens or closes.

    Args:
        emails: Addresses that get a mail.
        webhook: A URL that gets a POST; it is a secret.
        quiet_seconds: How long a circuit is not told of again; what happens meanwhile is told
            together afterwards.
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
        snapshot_seconds: How long a process may act on what it last read of a circuit.
        flush_seconds: How often a process writes the successes it has gathered.
        max_circuits: How many circuits there may be, against runaway names.
        max_snapshots: How many circuits a process keeps in memory, those used last.
        on_store_error: ``local`` goes on per process when the database fails, ``raise`` raises.
        store_retry_seconds: How long a failed database is left alone before the next try.
        failure_statuses: HTTP statuses that count as failures.
        history_days: How many days a change is kept in the history.
        history_rows: How many changes of all circuits are kept, the newest.
        statistics_days: How many days the counts of each minute are kept; 0 counts none.
        defaults: Policy of a new circuit.
        circuits: Policies by name, over the defaults; these circuits are made at once.
        prometheus: Whether calls and transitions are counted for Prometheus.
        opentelemetry: Whether calls are told to OpenTelemetry where it is installed.
        notify: Who is told when a circuit opens or closes.
        probe_hosts: Hosts that a probe may call, as in ``ALLOWED_HOSTS``.
        health_token: Opens the health and metrics pages to its bearer; empty for staff only.
    """

    database: str = "default"
    snapshot_seconds: float = 0.2
    flush_seconds: float = 5.0
    max_circuits: int = 10_000
    max_snapshots: int = 10_000
    on_store_error: str = "local"
    store_retry_seconds: float = 1.0
    failure_statuses: frozenset[int] = frozenset(range(500, 600))
    history_days: float = 90
    history_rows: int = 1_000_000
    statistics_days: float = 7
    defaults: Mapping[str, Any] = field(default_factory=dict)
    circuits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prometheus: bool = False
    opentelemetry: bool = True
    notify: Notify = field(default_factory=Notify)
    probe_hosts: Sequence[str] = ("*",)
    health_token: str = field(default="", repr=False)

    def circuit(self, name: str) -> dict[str, Any]:
        """Return the field values of a new circuit.

        The settings' entry for the name wins over what code has declared, and that over the
        settings' defaults.
        """
        return {**self.defaults, **_declared.get(name, {}), **self.circuits.get(name, {})}


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
    # The value is a secret, so no sentence repeats it.
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


def _check_statuses(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, (list, tuple, set, frozenset, range)) or not all(
        isinstance(status, int) and 100 <= status <= 599 for status in value
    ):
        known = "a list of HTTP statuses from 100 to 599"
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
    else:
        parse_statuses(value)


def _problem(where: str, check: Callable[..., object], *args: Any, **kwargs: Any) -> Iterator[str]:
    try:
        check(*args, **kwargs)
    except InvalidInputError as error:
        yield f"{where}: {error}"


_NOTIFY_KEYS: Final = {key.upper(): key for key in Notify.__dataclass_fields__}


def _check_notify(key: str, value: object) -> Iterator[str]:
    where = f"CIRCUITS[{key!r}]"
    if not isinstance(value, Mapping):
        yield f"{where} must be a dict with {', '.join(_NOTIFY_KEYS)}, not {type(value).__name__}."
        return
    for unknown in value.keys() - _NOTIFY_KEYS.keys():
        yield f"{where} has an unknown key {shown(unknown)}; known are {', '.join(_NOTIFY_KEYS)}."
    emails = value.get("EMAILS", ())
    if not isinstance(emails, (list, tuple)) or not all(
        isinstance(email, str) and "@" in email for email in emails
    ):
        yield f"{where}: EMAILS must be a list of mail addresses, not {shown(emails)}."
    if value.get("WEBHOOK"):
        yield from _problem(f"{where}: WEBHOOK", check_url, value["WEBHOOK"])
    quiet = value.get("QUIET_SECONDS", 0)
    yield from _problem(where, check_number, "QUIET_SECONDS", quiet, Limits(0, 86_400), whole=False)


_CHECKS: Final[dict[str, Check]] = {
    "DATABASE": _check_database,
    "SNAPSHOT_SECONDS": _number(0, 60),
    "FLUSH_SECONDS": _number(0.1, 3600),
    "MAX_CIRCUITS": _number(1, 10_000_000, whole=True),
    "MAX_SNAPSHOTS": _number(1, 10_000_000, whole=True),
    "ON_STORE_ERROR": _check_on_store_error,
    "STORE_RETRY_SECONDS": _number(0, 3600),
    "FAILURE_STATUSES": _check_statuses,
    "HISTORY_DAYS": _number(1, 36_500),
    "HISTORY_ROWS": _number(1, 100_000_000, whole=True),
    "STATISTICS_DAYS": _number(0, 36_500),
    "DEFAULTS": _check_defaults,
    "CIRCUITS": _check_circuits,
    "PROMETHEUS": _check_switch,
    "OPENTELEMETRY": _check_switch,
    "NOTIFY": _check_notify,
    "PROBE_HOSTS": _check_hosts,
    "HEALTH_TOKEN": _check_token,
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


def declare(name: str, **policy: Any) -> None:
    """Remember the policy that code wants for a circuit, for when it is made."""
    _declared[name] = policy


def declared(name: str) -> Mapping[str, Any]:
    """Return the policy that code wants for a circuit."""
    return _declared.get(name, {})


def forget_declared() -> None:
    """Forget what code has declared, as a new process would."""
    _declared.clear()


def load(raw: Any) -> Config:
    """Return a ``CIRCUITS`` setting as a :class:`Config`.

    Raises:
        ImproperlyConfigured: It is wrong; the message says where.
    """
    for problem in problems(raw):
        raise ImproperlyConfigured(problem)
    values = {_KEYS[key]: value for key, value in raw.items()}
    if "failure_statuses" in values:
        values["failure_statuses"] = frozenset(values["failure_statuses"])
    if "notify" in values:
        notify = values["notify"].items()
        values["notify"] = Notify(**{_NOTIFY_KEYS[key]: value for key, value in notify})
    return Config(**values)


def _forget(*, setting: str, **_: object) -> None:
    global _config
    if setting == "CIRCUITS":
        _config = None


setting_changed.connect(_forget)
