"""The admin: circuits seen and steered, and their history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.db.transaction import non_atomic_requests
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.urls import path as url_path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from . import conf, display, steering
from .charts import sparkline
from .exceptions import TooManyCircuitsError
from .fields import DatabaseNow
from .live import SCRIPT, LiveAdmin
from .models import POLICY_FIELDS, Circuit, Transition
from .paging import BoundedPaginator, HistoryList
from .readings import Reading
from .store import DatabaseStore

#: How many of the last transitions a circuit's page shows.
SHOWN: Final = 20

#: Seconds after which no further probe of a selection is begun: the page must come back.
PROBE_SECONDS: Final = 20.0


def _action(key: str, label: Any) -> Callable[..., None]:
    @admin.action(permissions=["operate"], description=label)
    def act(circuits: CircuitAdmin, request: HttpRequest, chosen: QuerySet[Circuit]) -> None:
        # Of all that a filter finds, those that the list has counted.
        circuits.operate_on(request, key, list(chosen[: BoundedPaginator.limit]))

    act.__name__ = key
    return act


def _moment(name: str) -> Callable[[Circuit], str]:
    """Return a column for a moment in the past."""

    @admin.display(description=Circuit._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
    def show(circuit: Circuit) -> str:
        return display.moment_and_age(getattr(circuit, name), _reading(circuit))

    show.__name__ = name
    return show


def _reading(circuit: Any) -> Reading:
    return Reading(circuit, circuit.db_now / 1_000_000)


class CircuitForm(ModelForm):  # type: ignore[type-arg]
    """The policy of a circuit."""

    def clean(self) -> dict[str, Any] | None:
        """Refuse a new circuit where there are too many already."""
        limit = conf.get().max_circuits
        if self.instance.pk is None and DatabaseStore().has(limit):
            name = self.cleaned_data.get("name", "")
            refusal = TooManyCircuitsError(name, limit)
            raise ValidationError(refusal.worded(gettext), code="too_many")
        return super().clean()


class ListAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list that no filter breaks."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse patterns, which can take for ever, and what PostgreSQL cannot look for."""
        is_safe = not lookup.endswith("regex") and "\0" not in value
        return is_safe and super().lookup_allowed(lookup, value, request)


@admin.register(Circuit)
class CircuitAdmin(LiveAdmin, ListAdmin):
    """Circuits: people set their policy and steer them; their state is the machine's."""

    form = CircuitForm
    list_display = (
        "name",
        "state_badge",
        "mode_words",
        "failures",
        "time_in_state",
        "retry_in",
        "calls",
        "error",
    )
    list_filter = ("state", "mode")
    list_per_page = 50
    search_fields = ("name", "probe_url")
    ordering = ("urgency", "name")
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = display.NOTHING
    actions = tuple(_action(key, label) for key, label in steering.LABELS.items())

    policy_fieldsets: Any = (
        (_("What it is"), {"fields": ("name", "probe_url", "timeout")}),
        (
            _("When it opens"),
            {
                "fields": (
                    "strategy",
                    "threshold",
                    "failure_rate",
                    "window_seconds",
                    "window_calls",
                    "minimum_calls",
                    "failure_statuses",
                    "respect_retry_after",
                )
            },
        ),
        (
            _("Slow and concurrent calls"),
            {"fields": ("slow_call_seconds", "slow_call_rate", "max_concurrent")},
        ),
        (
            _("How it recovers"),
            {
                "fields": (
                    "delay",
                    "backoff_factor",
                    "max_delay",
                    "jitter",
                    "half_open_max_calls",
                    "success_threshold",
                    "lease_seconds",
                    "ramp_up_seconds",
                )
            },
        ),
    )
    state_fieldsets: Any = (
        (
            _("Where it stands"),
            {
                "fields": (
                    "state_badge",
                    "mode_words",
                    "time_in_state",
                    "failures",
                    _moment("opened_at"),
                    "retry_in",
                    "trials",
                    "reopen_count",
                    "generation",
                )
            },
        ),
        (
            _("What it last saw"),
            {
                "fields": (
                    _moment("last_attempt_at"),
                    _moment("last_success_at"),
                    _moment("last_failure_at"),
                    "last_error",
                    "total_successes",
                    "total_failures",
                    "total_refusals",
                    _moment("created_at"),
                )
            },
        ),
    )

    class Media:
        css = {"all": ("circuits/admin.css", "circuits/charts.css")}
        js = (SCRIPT,)

    # Reading

    def get_queryset(self, request: HttpRequest) -> QuerySet[Circuit]:
        """Return the circuits, each with the database's clock: what counts must count by that."""
        rows: QuerySet[Circuit] = super().get_queryset(request)
        return rows.annotate(db_now=DatabaseNow())

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, circuit: Circuit) -> str:
        return display.state_badge(circuit.state)

    @admin.display(description=_("mode"), ordering="mode")
    def mode_words(self, circuit: Circuit) -> str:
        return display.mode_and_end(_reading(circuit))

    @admin.display(description=_("failures"), ordering="failure_count")
    def failures(self, circuit: Circuit) -> str:
        numbers = f"{circuit.failure_count} / {circuit.threshold}"
        return display.labelled(_("failures"), numbers)

    @admin.display(description=_("time in state"), ordering="-state_changed_at")
    def time_in_state(self, circuit: Circuit) -> str:
        return display.labelled(pgettext("a time", "for"), display.time_in_state(_reading(circuit)))

    @admin.display(description=_("retry"), ordering="retry_at")
    def retry_in(self, circuit: Circuit) -> str:
        return display.labelled(_("retry"), display.retry_in(_reading(circuit)))

    @admin.display(description=_("last hour"))
    def calls(self, circuit: Any) -> str:
        return display.labelled(_("last hour"), sparkline(circuit.last_hour))

    @admin.display(description=_("last error"), ordering="last_failure_at")
    def error(self, circuit: Circuit) -> str:
        return display.labelled(_("last error"), display.error_and_age(_reading(circuit)))

    @admin.display(description=_("successful trials"))
    def trials(self, circuit: Circuit) -> str:
        return f"{circuit.trial_successes} / {circuit.success_threshold}"

    # The form

    def get_fieldsets(self, request: HttpRequest, obj: Circuit | None = None) -> Any:
        """Return the policy, and what the machine says once there is a circuit."""
        return self.policy_fieldsets + (() if obj is None else self.state_fieldsets)

    def get_readonly_fields(self, request: HttpRequest, obj: Circuit | None = None) -> Any:
        """Return what is not for people to set. A new name would leave all callers behind."""
        return () if obj is None else ("name", *flatten_fieldsets(self.state_fieldsets))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin a new circuit with the site's defaults."""
        return {**conf.get().defaults, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what the form holds and no more: the state has gone on since it was read."""
        held = [name for name in POLICY_FIELDS if name in form.cleaned_data]
        obj.save(update_fields=held if change else None)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show where the circuit stands above the form, and its last transitions below."""
        circuit = kwargs.get("obj")
        if circuit is not None:
            context |= self.page_context(request, circuit)
        return super().render_change_form(request, context, *args, **kwargs)

    def page_context(self, request: HttpRequest, circuit: Circuit) -> dict[str, Any]:
        """Add where the circuit stands, what can be done with it, and its last changes."""
        may_operate = self.has_operate_permission(request)
        return super().page_context(request, circuit) | {
            "status": display.status(_reading(circuit)),
            "buttons": tuple(steering.buttons(circuit)) if may_operate else (),
            "history": [display.past(each) for each in circuit.history()[:SHOWN]],
        }

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let the history go with its circuit, though nobody may delete it by itself."""
        to_delete, count, missing, protected = super().get_deleted_objects(objs, request)
        return to_delete, count, missing - {Transition._meta.verbose_name}, protected

    # Steering

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may steer circuits, which is apart from editing their policy."""
        return request.user.has_perm("circuits.operate_circuit")

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the buttons post to."""
        view = self.admin_site.admin_view(self.operate_view)
        operate = url_path("<path:object_id>/operate/", view, name="circuits_circuit_operate")
        return [operate, *super().get_urls()]

    # A probe waits for a remote: no transaction of the site's may be held open for it.
    @non_atomic_requests
    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the list, or do an action."""
        return super().changelist_view(request, *args, **kwargs)

    @non_atomic_requests
    @method_decorator(require_POST)
    def operate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Steer one circuit and go back to its page."""
        if not (self.has_view_permission(request) and self.has_operate_permission(request)):
            raise PermissionDenied
        circuit = self.get_object(request, unquote(object_id))
        key = request.POST.get("operation")
        if circuit is None or key not in steering.LABELS:
            raise Http404
        said = self._operate(request, key, circuit)
        self.message_user(request, said.text, said.level)
        url = reverse(
            "admin:circuits_circuit_change", args=(circuit.pk,), current_app=self.admin_site.name
        )
        return HttpResponseRedirect(url)

    def operate_on(self, request: HttpRequest, key: str, circuits: Sequence[Circuit]) -> None:
        """Steer each of the circuits, and say how it went."""
        for level, text in steering.summarised(self._operate_each(request, key, circuits)):
            self.message_user(request, text, level)

    def _operate_each(
        self, request: HttpRequest, key: str, circuits: Sequence[Circuit]
    ) -> Iterator[steering.Said]:
        began = monotonic()
        for done, circuit in enumerate(circuits):
            if key == steering.PROBE and monotonic() - began > PROBE_SECONDS:
                yield steering.out_of_time(len(circuits) - done)
                return
            yield self._operate(request, key, circuit)

    def _operate(self, request: HttpRequest, key: str, circuit: Circuit) -> steering.Said:
        said = steering.steer(circuit.name, key, actor=request.user.get_username())
        self.log_change(request, circuit, said.text)
        return said


@admin.register(Transition)
class TransitionAdmin(ListAdmin):
    """The history of all circuits, which nobody may change."""

    list_display = ("moment", "circuit_link", "change", "reason", "short_detail", "actor")
    list_filter = ("to_state", "reason")
    list_per_page = 50
    paginator = BoundedPaginator
    sortable_by = ()
    search_fields = ("circuit__name", "actor")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = display.NOTHING
    fields = ("moment", "circuit_link", "change", "reason", "detail", "actor", "generation")

    class Media:
        css = {"all": ("circuits/admin.css", "circuits/charts.css")}
        js = (SCRIPT,)

    @admin.display(description=_("at"))
    def moment(self, transition: Transition) -> str:
        return display.at(transition.at)

    @admin.display(description=_("circuit"))
    def circuit_link(self, transition: Transition) -> str:
        url = reverse(
            "admin:circuits_circuit_change",
            args=(transition.circuit_id,),
            current_app=self.admin_site.name,
        )
        return format_html('<a href="{}">{}</a>', url, transition.circuit)

    @admin.display(description=_("change"))
    def change(self, transition: Transition) -> str:
        return display.change(transition)

    @admin.display(description=_("detail"))
    def short_detail(self, transition: Transition) -> str:
        return display.shortened(transition.detail)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transition]:
        """Return the changes, their circuits fetched apart: a join may lose the index's order."""
        rows: QuerySet[Transition] = super().get_queryset(request)
        return rows.prefetch_related("circuit")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the kind of list that a long history needs."""
        return HistoryList

    def has_view_permission(self, request: HttpRequest, obj: Transition | None = None) -> bool:
        """A history belongs to its circuit: who may see that may see this."""
        return request.user.has_perm("circuits.view_circuit") or super().has_view_permission(
            request, obj
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds to the history by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Transition | None = None) -> bool:
        """Nobody rewrites the history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Transition | None = None) -> bool:
        """A piece of history goes with its circuit only."""
        return False
