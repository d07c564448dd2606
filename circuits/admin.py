"""The admin: circuits seen and steered, and their history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.urls import path as url_path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from . import conf, display, export, incidents, page, steering
from .charts import sparkline
from .exceptions import TooManyCircuitsError
from .fields import DatabaseNow
from .fieldsets import POLICY_FIELDSETS
from .live import SCRIPT, LiveAdmin
from .models import POLICY_FIELDS, Circuit, Transition
from .operating import OperatingAdmin
from .paging import BoundedPaginator, HistoryList
from .readings import reading_of
from .store import DatabaseStore


def _moment(name: str) -> Callable[[Circuit], str]:
    """Return a column for a moment in the past."""

    @admin.display(description=Circuit._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
    def show(circuit: Circuit) -> str:
        return display.moment_and_age(getattr(circuit, name), reading_of(circuit))

    show.__name__ = name
    return show


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
class CircuitAdmin(LiveAdmin, OperatingAdmin, ListAdmin):
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

    policy_fieldsets: Any = POLICY_FIELDSETS
    state_fieldsets: Any = (
        (
            _("Where it stands"),
            {
                "classes": ("collapse",),
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
                ),
            },
        ),
        (
            _("What it last saw"),
            {
                "classes": ("collapse",),
                "fields": (
                    _moment("last_attempt_at"),
                    _moment("last_success_at"),
                    _moment("last_failure_at"),
                    "last_error",
                    "total_successes",
                    "total_failures",
                    "total_refusals",
                    _moment("created_at"),
                ),
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
        return display.mode_and_end(reading_of(circuit))

    @admin.display(description=_("failures"), ordering="failure_count")
    def failures(self, circuit: Circuit) -> str:
        numbers = f"{circuit.failure_count} / {circuit.threshold}"
        return display.labelled(_("failures"), numbers)

    @admin.display(description=_("time in state"), ordering="-state_changed_at")
    def time_in_state(self, circuit: Circuit) -> str:
        return display.labelled(
            pgettext("a time", "for"), display.time_in_state(reading_of(circuit))
        )

    @admin.display(description=_("retry"), ordering="retry_at")
    def retry_in(self, circuit: Circuit) -> str:
        return display.labelled(_("retry"), display.retry_in(reading_of(circuit)))

    @admin.display(description=_("last hour"))
    def calls(self, circuit: Any) -> str:
        return display.labelled(_("last hour"), sparkline(circuit.last_hour))

    @admin.display(description=_("last error"), ordering="last_failure_at")
    def error(self, circuit: Circuit) -> str:
        return display.labelled(_("last error"), display.error_and_age(reading_of(circuit)))

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
            "status": display.status(reading_of(circuit)),
            "buttons": tuple(steering.buttons(circuit)) if may_operate else (),
            **page.of_circuit(reading_of(circuit)),
        }

    def get_urls(self) -> list[URLPattern]:
        """Add the permanent addresses of incidents."""
        view = self.admin_site.admin_view(self.incident_view)
        address = "<path:object_id>/incident/<int:generation>/"
        return [url_path(address, view, name="circuits_circuit_incident"), *super().get_urls()]

    @method_decorator(require_safe)
    def incident_view(
        self, request: HttpRequest, object_id: str, generation: int
    ) -> TemplateResponse:
        """Show an incident: when, for how long, why, and what was done."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        circuit = self.get_object(request, unquote(object_id))
        if circuit is None:
            return self.gone(request, _("This circuit is no longer there."))
        incident = incidents.one(circuit, generation)
        if incident is None:
            sentence = _("This incident of %(circuit)s is not kept, or no longer.")
            return self.gone(request, sentence % {"circuit": circuit}, circuit)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": _("Incident of %(circuit)s") % {"circuit": circuit},
            "subtitle": None,
            "original": circuit,
            **page.of_incident(incident, reading_of(circuit)),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/circuits/circuit/incident.html", context)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let the history go with its circuit, though nobody may delete it by itself."""
        to_delete, count, missing, protected = super().get_deleted_objects(objs, request)
        return to_delete, count, missing - {Transition._meta.verbose_name}, protected


@admin.register(Transition)
class TransitionAdmin(ListAdmin):
    """The history of all circuits, which nobody may change."""

    list_display = (
        "moment",
        "circuit_link",
        "change",
        "reason",
        "short_detail",
        "actor",
        "refusals",
        "incident_link",
    )
    list_filter = ("to_state", "reason")
    list_per_page = 50
    paginator = BoundedPaginator
    sortable_by = ()
    search_fields = ("circuit__name", "actor")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = display.NOTHING
    fields = (
        "moment",
        "circuit_link",
        "change",
        "reason",
        "detail",
        "actor",
        "until",
        "refusals",
        "incident_link",
        "generation",
    )

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

    @admin.display(description=_("incident"))
    def incident_link(self, transition: Transition) -> str:
        if not transition.is_opening:
            return display.NOTHING
        url = reverse(
            "admin:circuits_circuit_incident",
            args=(transition.circuit_id, transition.generation),
            current_app=self.admin_site.name,
        )
        return format_html('<a href="{}">{}</a>', url, _("Incident"))

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

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the download."""
        view = self.admin_site.admin_view(self.export_view)
        return [url_path("export/", view, name="circuits_transition_export"), *super().get_urls()]

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send all changes that the list's filters and search find, also those it is cut before."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            history: Any = self.get_changelist_instance(request)
            found = history.all_of_it(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest(_("This filter cannot be understood."))
        name = f"circuits-history-{timezone.localdate():%Y-%m-%d}.csv"
        return StreamingHttpResponse(
            export.lines(found),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

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
