"""The models: circuits, their history, their calls by the minute, recordings and heartbeats.

Only :mod:`circuits.storage.database` writes the state of a circuit. People write its policy.
"""

from __future__ import annotations

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .conf import DEFAULT_TIMEOUT, TIMEOUT_LIMITS
from .core.policy import POLICY_LIMITS, POLICY_NAMES, Limits, Policy, Strategy
from .core.status import Mode, Reason, State
from .fields import (
    FamilyField,
    MadeAtField,
    NameField,
    validate_name,
    validate_number,
    validate_probe_url,
    validate_statuses,
)
from .redaction import ERROR_LENGTH
from .signs import spelled_out
from .validation import NAME_LENGTH, STATUSES_LENGTH, URL_LENGTH

STATES = [
    (State.CLOSED.value, _("closed")),
    (State.OPEN.value, pgettext_lazy("state", "open")),
    (State.HALF_OPEN.value, _("half open")),
]
MODES = [
    (Mode.AUTOMATIC.value, _("automatic")),
    (Mode.FORCED_OPEN.value, _("forced open")),
    (Mode.FORCED_CLOSED.value, _("forced closed")),
    (Mode.OBSERVE.value, _("observe")),
]
STRATEGIES = [
    (Strategy.CONSECUTIVE.value, _("failures in a row")),
    (Strategy.RATE.value, _("failure rate")),
    (Strategy.THROTTLE.value, _("throttle")),
]
REASONS = [
    (Reason.FAILURES.value, _("too many failures")),
    (Reason.FAILURE_RATE.value, _("failure rate")),
    (Reason.SLOW_CALLS.value, _("too many slow calls")),
    (Reason.RETRY_AFTER.value, _("asked to wait")),
    (Reason.REFUTED.value, _("refuted by another process")),
    (Reason.DELAY_PASSED.value, _("delay passed")),
    (Reason.TRIAL_SUCCEEDED.value, _("trial succeeded")),
    (Reason.TRIAL_FAILED.value, _("trial failed")),
    (Reason.TRY_NOW.value, _("tried at once")),
    (Reason.RESET.value, _("reset")),
    (Reason.MODE.value, _("mode changed")),
    (Reason.MODE_OVER.value, _("time was up")),
    (Reason.INJECTION.value, _("injected faults")),
]

#: The fields that people may set. A form writes no others.
POLICY_FIELDS = (*POLICY_NAMES, "timeout", "failure_statuses", "probe_url")

#: The most characters of an actor's name, as many as Django's user names have.
ACTOR_LENGTH = 150

#: The most characters of the id of a process; see circuits.process.identity.
PROCESS_LENGTH = 100

_DEFAULTS = Policy()


def _validators(limits: Limits) -> list[Any]:
    return [validate_number, MinValueValidator(limits.least), MaxValueValidator(limits.most)]


def _policy(kind: type[models.Field[Any, Any]], name: str, label: Any, help_text: Any) -> Any:
    default = getattr(_DEFAULTS, name)
    return kind(
        label,
        default=default,
        # The database has the default too, so that code older than the field can still make rows.
        db_default=default,
        validators=_validators(POLICY_LIMITS[name]),
        help_text=help_text,
    )


#: The rank of a closed circuit that has refused calls within the hour.
UNSTEADY_URGENCY = 3

#: The rank of a circuit that would be down if its refusals were enforced.
WOULD_BE_DOWN_URGENCY = 4

#: Matches circuits that refuse nothing and only count the calls they would have refused.
OBSERVED = Q(mode=Mode.OBSERVE.value) | Q(mode=Mode.AUTOMATIC.value, enforce_share=0)

#: The order of the admin's list: circuits that are down or forced come first. One that only
#: observes refuses nothing, so it never ranks with those that do.
_URGENCY = Case(
    When(OBSERVED & ~Q(state=State.CLOSED.value), then=Value(WOULD_BE_DOWN_URGENCY)),
    When(OBSERVED, then=Value(5)),
    When(state=State.OPEN.value, then=Value(0)),
    When(mode=Mode.FORCED_CLOSED.value, then=Value(1)),
    When(state=State.HALF_OPEN.value, then=Value(2)),
    When(refused_at__isnull=False, then=Value(UNSTEADY_URGENCY)),
    default=Value(5),
)


class CircuitManager(models.Manager["Circuit"]):
    def get_by_natural_key(self, name: str) -> Circuit:
        """Return the circuit with the name."""
        return self.get(name=name)


class Circuit(models.Model):
    """A circuit breaker: its policy, its state, and the last outcomes of its calls."""

    name: models.CharField[str, str] = NameField(_("name"), unique=True, validators=[validate_name])
    probe_url = models.CharField(
        _("probe URL"),
        max_length=URL_LENGTH,
        blank=True,
        validators=[validate_probe_url],
        help_text=_("Where a probe calls: http or https, without password or query string."),
    )
    timeout = models.FloatField(
        _("timeout"),
        default=DEFAULT_TIMEOUT,
        db_default=DEFAULT_TIMEOUT,
        validators=_validators(TIMEOUT_LIMITS),
        help_text=_("Seconds to wait for the remote, unless the call itself says otherwise."),
    )

    threshold = _policy(
        models.IntegerField,
        "threshold",
        _("threshold"),
        _("Failures in a row that open the circuit."),
    )
    delay = _policy(
        models.FloatField,
        "delay",
        _("delay"),
        _("Seconds that calls are refused before one is let through to try."),
    )
    half_open_max_calls = _policy(
        models.IntegerField,
        "half_open_max_calls",
        _("trial calls at once"),
        _("How many calls may try at the same time after the delay."),
    )
    success_threshold = _policy(
        models.IntegerField,
        "success_threshold",
        _("successes to close"),
        _("Trial calls that must succeed before the circuit closes."),
    )
    backoff_factor = _policy(
        models.FloatField,
        "backoff_factor",
        _("backoff factor"),
        _("Each failed trial multiplies the delay by this; 1 keeps it as it is."),
    )
    max_delay = _policy(
        models.FloatField,
        "max_delay",
        _("longest delay"),
        _("Seconds the delay may grow to; it never becomes shorter than the delay."),
    )
    jitter = _policy(
        models.FloatField,
        "jitter",
        _("jitter"),
        _("Share of a grown delay left to chance, from 0 (none) to 1 (all of it)."),
    )
    lease_seconds = _policy(
        models.FloatField,
        "lease_seconds",
        _("trial lease"),
        _("Seconds after which the place of a trial is given up if its process has died."),
    )

    ramp_up_seconds = _policy(
        models.FloatField,
        "ramp_up_seconds",
        _("ramp-up"),
        _("Seconds after a recovery in which a growing share of the calls passes; 0 for none."),
    )

    strategy = models.CharField(
        _("strategy"),
        max_length=15,
        choices=STRATEGIES,
        default=Strategy.CONSECUTIVE.value,
        db_default=Strategy.CONSECUTIVE.value,
        help_text=_(
            "Open after failures in a row, or by their share of the calls; or stay closed, and "
            "refuse as many calls as their share asks for."
        ),
    )
    window_seconds = _policy(
        models.FloatField,
        "window_seconds",
        _("window in seconds"),
        _("Seconds the failure rate is taken over; several times FLUSH_SECONDS."),
    )
    window_calls = _policy(
        models.IntegerField,
        "window_calls",
        _("window in calls"),
        _("Take the failure rate over this many last calls instead; 0 goes by seconds."),
    )
    failure_rate = _policy(
        models.FloatField,
        "failure_rate",
        _("failure rate"),
        _("Share of failed calls, up to 1, that opens the circuit, or above which it throttles."),
    )
    minimum_calls = _policy(
        models.IntegerField,
        "minimum_calls",
        _("minimum of calls"),
        _("Calls the window must hold before its rate counts."),
    )
    slow_call_seconds = _policy(
        models.FloatField,
        "slow_call_seconds",
        _("slow from"),
        _("Seconds from which an answer is too late; 0 for never."),
    )
    slow_call_rate = _policy(
        models.FloatField,
        "slow_call_rate",
        _("slow call rate"),
        _("Share of slow calls that opens the circuit, or above which it throttles."),
    )
    max_throttle = _policy(
        models.FloatField,
        "max_throttle",
        _("most throttled"),
        _("Largest share of calls that throttling refuses; the others try the remote."),
    )
    respect_retry_after = models.BooleanField(
        _("respect Retry-After"),
        default=False,
        db_default=False,
        help_text=_("Open for as long as the remote asks with Retry-After, on 429 and 503."),
    )
    max_concurrent = _policy(
        models.IntegerField,
        "max_concurrent",
        _("concurrent calls"),
        _("Calls that each process may have under way at once; 0 for no limit."),
    )
    max_wait_seconds = _policy(
        models.FloatField,
        "max_wait_seconds",
        _("longest wait"),
        _("Seconds for which a call over that limit waits for a place; 0 to refuse it at once."),
    )
    enforce_share = _policy(
        models.FloatField,
        "enforce_share",
        _("enforced share"),
        _("Share of refusals that is real; the other calls pass and are only counted as refused."),
    )
    retry_share = _policy(
        models.FloatField,
        "retry_share",
        _("retry share"),
        _("Share of the recent calls that may be retried."),
    )
    failure_statuses = models.CharField(
        _("failure statuses"),
        max_length=STATUSES_LENGTH,
        blank=True,
        default="",
        db_default="",
        validators=[validate_statuses],
        help_text=_("HTTP statuses that count as failures, such as 500-599, 429."),
    )

    state = models.CharField(_("state"), max_length=10, choices=STATES, default=State.CLOSED.value)
    mode = models.CharField(_("mode"), max_length=15, choices=MODES, default=Mode.AUTOMATIC.value)
    mode_until = models.DateTimeField(
        _("mode until"), null=True, blank=True, help_text=_("Empty: until somebody sets it back.")
    )
    generation = models.BigIntegerField(_("generation"), default=0)
    failure_count = models.IntegerField(_("failures in a row"), default=0)
    run_started_at = models.DateTimeField(_("failing since"), null=True, blank=True)
    opened_at = models.DateTimeField(_("opened at"), null=True, blank=True)
    down_since = models.DateTimeField(
        _("down since"),
        null=True,
        blank=True,
        help_text=_("When it last left closed; a failed trial does not change it."),
    )
    retry_at = models.DateTimeField(_("retry at"), null=True, blank=True)
    reopen_count = models.IntegerField(_("failed recoveries"), default=0)
    trial_successes = models.IntegerField(_("successful trials"), default=0)
    leases = models.JSONField(_("trial leases"), default=list, blank=True)
    recovered_at = models.DateTimeField(_("recovered at"), null=True, blank=True)
    window = models.JSONField(_("window"), null=True, blank=True)
    retry_window = models.JSONField(_("recent retries"), null=True, blank=True, editable=False)
    notified_at = models.DateTimeField(_("last told"), null=True, blank=True, editable=False)
    state_changed_at = models.DateTimeField(_("state changed at"), null=True, blank=True)

    # Which processes say that the remote fails, and which that it does not; see
    # circuits.core.conviction.
    run_by = models.CharField(
        _("failing for"), max_length=PROCESS_LENGTH, blank=True, default="", db_default=""
    )
    accuser = models.CharField(
        _("accused by"), max_length=PROCESS_LENGTH, blank=True, default="", db_default=""
    )
    quarantines = models.JSONField(_("processes in quarantine"), null=True, blank=True)
    succeeded_by = models.CharField(
        _("last succeeded for"), max_length=PROCESS_LENGTH, blank=True, default="", db_default=""
    )
    other_succeeded_at = models.DateTimeField(_("last success of another"), null=True, blank=True)

    last_attempt_at = models.DateTimeField(_("last attempt"), null=True, blank=True)
    last_success_at = models.DateTimeField(_("last success"), null=True, blank=True)
    last_failure_at = models.DateTimeField(_("last failure"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=ERROR_LENGTH, blank=True)
    total_successes = models.BigIntegerField(_("successes"), default=0)
    total_failures = models.BigIntegerField(_("failures"), default=0)
    total_refusals = models.BigIntegerField(_("refusals"), default=0)
    refusals_before = models.BigIntegerField(
        _("refusals before it went down"), default=0, db_default=0, editable=False
    )
    refused_at = models.DateTimeField(
        _("last refusal"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("When a call was last refused; empty once that is an hour ago."),
    )
    recorded_until = models.DateTimeField(
        _("calls recorded until"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Until then each process records its calls, to replay them later."),
    )
    # See circuits.core.injection.
    injected_failures = models.FloatField(
        _("injected failures"),
        default=0.0,
        db_default=0.0,
        editable=False,
        help_text=_("Share of calls that fails without reaching the remote, from 0 to 1."),
    )
    injected_delay = models.FloatField(
        _("injected delay"),
        default=0.0,
        db_default=0.0,
        editable=False,
        help_text=_("Seconds by which the other calls are late."),
    )
    injected_until = models.DateTimeField(
        _("faults injected until"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("When the injected faults end by themselves; also once that is past."),
    )
    created_at = MadeAtField(_("created at"), default=timezone.now, editable=False)

    # Computed by the database, since state is written by UPDATE statements. An index on the
    # expression would do as well, but MariaDB has none.
    urgency = models.GeneratedField(
        verbose_name=_("urgency"),
        expression=_URGENCY,
        output_field=models.PositiveSmallIntegerField(),
        db_persist=True,
    )

    family: models.CharField[str, str] = FamilyField(
        _("family"), blank=True, default="", db_default="", db_index=True, editable=False
    )

    objects = CircuitManager()

    class Meta:
        verbose_name = _("circuit")
        verbose_name_plural = _("circuits")
        ordering = ("name",)
        # In English, like Django's own permissions, because a migration writes it to the database.
        permissions = (("operate_circuit", "Can reset, force and probe circuits"),)
        indexes = (
            # For half_open_expired, every second; only open circuits have a value. The state is
            # left out, or MariaDB would find circuits by their state, lock them in another order
            # than a change does, and deadlock with it.
            models.Index(fields=["retry_at"], name="circuits_retry_at"),
            # Likewise, for modes that end by themselves.
            models.Index(fields=["mode_until"], name="circuits_mode_until"),
            # The order of the admin's list, with the columns of its filters, so that the index
            # answers those too.
            models.Index(fields=["urgency", "name", "state", "mode"], name="circuits_urgency"),
        )
        # Few constraints, and no PositiveIntegerField, which has one of its own: PostgreSQL parses
        # each constraint anew for every UPDATE, and one for each policy field made a failing call
        # twice as slow. Policy values are checked where they are set, and mended where they are
        # read.
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in State]), name="circuits_state_known"
            ),
            models.CheckConstraint(
                condition=Q(mode__in=[m.value for m in Mode]), name="circuits_mode_known"
            ),
            models.CheckConstraint(
                condition=~Q(state=State.OPEN.value) | Q(retry_at__isnull=False),
                name="circuits_open_has_retry_at",
            ),
        )

    def __str__(self) -> str:
        # An old name may have deceptive characters, and must not pass for another one.
        return spelled_out(self.name)

    def natural_key(self) -> tuple[str]:
        """Return the key that names the circuit in a fixture."""
        return (self.name,)


class Transition(models.Model):
    """One change of a circuit's state or mode, or the begin or end of injected faults."""

    circuit = models.ForeignKey(
        Circuit, models.CASCADE, related_name="transitions", verbose_name=_("circuit")
    )
    from_state = models.CharField(_("from state"), max_length=10, choices=STATES)
    to_state = models.CharField(_("to state"), max_length=10, choices=STATES)
    from_mode = models.CharField(_("from mode"), max_length=15, choices=MODES)
    to_mode = models.CharField(_("to mode"), max_length=15, choices=MODES)
    reason = models.CharField(_("reason"), max_length=20, choices=REASONS)
    detail = models.CharField(
        _("detail"),
        max_length=ERROR_LENGTH,
        blank=True,
        help_text=_("The error that led to it, or the words of who did it."),
    )
    actor = models.CharField(
        _("actor"),
        max_length=ACTOR_LENGTH,
        blank=True,
        help_text=_("Who did it; empty for the machine."),
    )
    generation = models.PositiveBigIntegerField(_("generation"))
    at = models.DateTimeField(_("at"), db_index=True)
    until = models.DateTimeField(
        _("ends"),
        null=True,
        blank=True,
        help_text=_("When the mode or the faults end by themselves; empty for never."),
    )
    refusals = models.BigIntegerField(
        _("refusals"),
        default=0,
        db_default=0,
        help_text=_("Calls refused from then until the next change."),
    )

    # The outbox of notifications, see circuits.upkeep.outbox.
    pending = models.BooleanField(
        _("to be told"), default=False, db_default=False, db_index=True, editable=False
    )
    claimed_until = models.DateTimeField(null=True, blank=True, editable=False)
    delivered_to = models.CharField(
        max_length=50, blank=True, default="", db_default="", editable=False
    )

    class Meta:
        verbose_name = _("transition")
        verbose_name_plural = _("transitions")
        ordering = ("-id",)
        indexes = (
            # A change out of closed begins an incident. The index finds those of a circuit among
            # thousands of failed trials.
            models.Index(fields=["circuit", "from_state", "generation"], name="circuits_incidents"),
        )
        constraints = (
            # However many processes report at once, one change makes one row. Its index also
            # serves a circuit's history.
            models.UniqueConstraint(
                fields=["circuit", "generation"], name="circuits_transition_once"
            ),
        )

    def __str__(self) -> str:
        states = self.get_from_state_display(), self.get_to_state_display()
        return f"{self.circuit}: {' -> '.join(states)}"

    @property
    def is_opening(self) -> bool:
        """Whether this change began an incident."""
        return self.from_state == State.CLOSED and self.to_state == State.OPEN


class Opening(Transition):
    """A change that began an incident, for the admin's list of incidents."""

    class Meta:
        proxy = True
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        ordering = ("-id",)
        # It needs no permissions, since those to see a circuit's history cover its incidents.
        default_permissions = ()


def history_of(circuit: Circuit) -> models.QuerySet[Transition]:
    """Return a circuit's changes, the newest first, in the order of an index.

    It is not a method, because another app may add a manager named ``history`` to the model.
    """
    return Transition.objects.filter(circuit=circuit).order_by("-generation")


def _timed() -> Any:
    return models.IntegerField(default=0, db_default=0, editable=False)


class Minute(models.Model):
    """The outcomes of one minute's calls, for the charts. A minute without calls has no row.

    The durations of calls that were answered and timed are counted in the buckets of
    ``circuits.core.latency``. Each bucket is a column, since every database can add up columns.
    """

    # Deleting a circuit leaves its minutes, which may be many, to be pruned when they are old. The
    # unique constraint provides the index.
    circuit = models.ForeignKey(
        Circuit,
        models.DO_NOTHING,
        related_name="minutes",
        verbose_name=_("circuit"),
        db_constraint=False,
        db_index=False,
    )
    minute = models.IntegerField(
        _("minute"), db_index=True, help_text=_("In minutes since 1970, by the database's clock.")
    )
    successes = models.BigIntegerField(_("successes"), default=0)
    failures = models.BigIntegerField(_("failures"), default=0)
    refusals = models.BigIntegerField(_("refusals"), default=0)
    took_10ms = _timed()
    took_20ms = _timed()
    took_50ms = _timed()
    took_100ms = _timed()
    took_200ms = _timed()
    took_500ms = _timed()
    took_1s = _timed()
    took_2s = _timed()
    took_5s = _timed()
    took_10s = _timed()
    took_20s = _timed()
    took_longer = _timed()

    class Meta:
        verbose_name = _("minute")
        verbose_name_plural = _("minutes")
        constraints = (
            models.UniqueConstraint(fields=["circuit", "minute"], name="circuits_minute_once"),
        )

    def __str__(self) -> str:
        return f"{self.circuit_id}: {self.minute}"


#: The columns of :class:`Minute` that count durations, the shortest first.
BUCKETS = tuple(
    field.name for field in Minute._meta.concrete_fields if field.name.startswith("took_")
)


class Recording(models.Model):
    """A period in which a circuit's calls are recorded, to be replayed under other policies."""

    # Deleting a circuit leaves its recording, to be pruned when it is old.
    circuit = models.OneToOneField(
        Circuit,
        models.DO_NOTHING,
        related_name="recording",
        verbose_name=_("circuit"),
        db_constraint=False,
    )
    since = models.DateTimeField(_("since"))
    until = models.DateTimeField(_("until"), db_index=True)
    size = models.IntegerField(_("size in bytes"), default=0)

    class Meta:
        verbose_name = _("recording")
        verbose_name_plural = _("recordings")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.circuit_id}: {self.since}"


class RecordedCalls(models.Model):
    """Calls that one process recorded between two flushes; see :mod:`circuits.core.recording`."""

    recording = models.ForeignKey(
        Recording, models.CASCADE, related_name="batches", verbose_name=_("recording")
    )
    at = models.BigIntegerField(
        _("at"), help_text=_("In milliseconds since 1970, by the database's clock.")
    )
    number = models.IntegerField(_("number of calls"))
    calls = models.BinaryField(_("calls"))

    class Meta:
        verbose_name = _("recorded calls")
        verbose_name_plural = _("recorded calls")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.recording_id}: {self.number}"


class Heartbeat(models.Model):
    """When a regular task last ran, by the database's clock."""

    name = models.CharField(_("name"), max_length=NAME_LENGTH, unique=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")

    def __str__(self) -> str:
        return self.name
