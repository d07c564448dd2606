"""The admin of circuits, where staff see and steer them, of their history and their incidents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.db.models import QuerySet
from django.forms import Script
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, reverse
from django.urls import path as url_path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from . import conf
from .console import display, folding, page, results
from .console.advice import Advice, advice
from .console.charts import sparkline
from .console.families import FamilyAdmin, FamilyFilter
from .console.fieldsets import POLICY_FIELDSETS
from .console.forecast import of_policy
from .console.lists import SteadyAdmin
from .console.live import SCRIPT, LiveAdmin
from .console.operate import OperatingAdmin
from .console.paging import (
    BoundedPaginator,
    CauseFilter,
    GoesOnFilter,
    HistoryList,
    IncidentList,
    OpenedFilter,
)
from .console.policy_form import PREVIEW, CircuitForm, form_field
from .console.replay import ReplayAdmin
from .console.sites import view_of
from .core.policy import Strategy
from .fields import with_clock
from .models import POLICY_FIELDS, Circuit, Opening, Transition
from .reports import export, incidents
from .reports.forecast import plan_of
from .reports.policies import cautions
from .reports.readings import reading_of
from .reports.verdict import NO_EVIDENCE, Evidence, gather
from .reports.words import local_time
from .steering.permissions import (
    circuits_on,
    has_perm,
    has_rule_for_each,
    may_operate,
    may_see,
    may_see_history,
)
from .storage.errors import is_bad_value
from .storage.families import save_policy

#: The style sheets of the pages. One is for a theme that dresses only pages of its own.
STYLES: Final = (
    "circuits/admin.css",
    "circuits/charts.css",
    *(["circuits/unfold.css"] if apps.is_installed("unfold") else []),
)


def _moment(name: str) -> Callable[[Circuit], str]:
    """Return a column that shows a field with a moment in the past."""

    @admin.display(description=Circuit._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
    def show(circuit: Circuit) -> str:
        return display.moment_and_age(getattr(circuit, name), reading_of(circuit))

    show.__name__ = name
    return show


def _evidence(circuit: Any) -> Evidence:
    """Return the evidence that the list has gathered about a circuit; none outside the list."""
    found: Evidence = getattr(circuit, "evidence", NO_EVIDENCE)
    return found


@admin.register(Circuit)
class CircuitAdmin(LiveAdmin, ReplayAdmin, OperatingAdmin, FamilyAdmin, SteadyAdmin):
    """The admin of circuits. Staff set the policy and steer; only the machine writes the state."""

    form = CircuitForm
    list_display = (
        "name",
        "state_badge",
        "since",
        "retry_in",
        "calls",
        "error",
    )
    list_filter = ("state", "mode", FamilyFilter)
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
                    "since",
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
        css = {"all": STYLES}
        js = (SCRIPT, Script("circuits/forecast.js", defer=True))

    # Reading

    def get_queryset(self, request: HttpRequest) -> QuerySet[Circuit]:
        """Return the circuits, each with the database's time, by which countdowns must count."""
        rows: QuerySet[Circuit] = with_clock(super().get_queryset(request))
        return rows

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, circuit: Circuit) -> str:
        return display.badge(reading_of(circuit), _evidence(circuit))

    @admin.display(description=_("mode"), ordering="mode")
    def mode_words(self, circuit: Circuit) -> str:
        return display.mode_and_end(reading_of(circuit))

    @admin.display(description=_("failures"), ordering="failure_count")
    def failures(self, circuit: Circuit) -> str:
        numbers = f"{circuit.failure_count} / {circuit.threshold}"
        return display.labelled(_("failures"), numbers)

    @admin.display(description=_("since"), ordering="-state_changed_at")
    def since(self, circuit: Circuit) -> str:
        if family := folding.family_on(circuit):
            return folding.standing(circuit, family)
        words = display.standing(reading_of(circuit), _evidence(circuit))
        return format_html("{}{}", folding.member_mark(circuit), words)

    @admin.display(description=_("next try"), ordering="retry_at")
    def retry_in(self, circuit: Circuit) -> str:
        return display.labelled(_("next try"), display.retry_in(reading_of(circuit)))

    @admin.display(description=_("last hour"))
    def calls(self, circuit: Any) -> str:
        family = folding.family_on(circuit)
        chart = folding.calls(family) if family else sparkline(_evidence(circuit).calls)
        return display.labelled(_("last hour"), chart)

    # Shown below the other columns across the row, so it has no heading to sort by.
    @admin.display(description=_("why"))
    def error(self, circuit: Any) -> str:
        words = display.why(reading_of(circuit), getattr(circuit, "by_hand", None))
        family = folding.family_on(circuit)
        return folding.why(circuit, family, words) if family else words

    @admin.display(description=_("successful trials"))
    def trials(self, circuit: Circuit) -> str:
        return f"{circuit.trial_successes} / {circuit.success_threshold}"

    # The form

    def get_fieldsets(self, request: HttpRequest, obj: Circuit | None = None) -> Any:
        """Return the fieldsets of the policy and, once the circuit exists, of its state."""
        return self.policy_fieldsets + (() if obj is None else self._state_fieldsets(obj))

    def _state_fieldsets(self, circuit: Circuit) -> Any:
        """Return the fieldsets of the state, without failures in a row if they open nothing."""
        if circuit.strategy == Strategy.CONSECUTIVE:
            return self.state_fieldsets
        return tuple(
            (title, {**options, "fields": [f for f in options["fields"] if f != "failures"]})
            for title, options in self.state_fieldsets
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Circuit | None = None) -> Any:
        """Return the state, and the name, since a new name would leave all callers behind."""
        return () if obj is None else ("name", *flatten_fieldsets(self.state_fieldsets))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the site's defaults for a new circuit."""
        return {**conf.get().defaults, **super().get_changeform_initial_data(request)}

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the form, told whether the database refused it and whether to preview it."""
        form: Any = super().get_form(request, *args, **kwargs)
        form.is_refused = getattr(request, "circuits_form_is_refused", False)
        form.is_preview = PREVIEW in request.POST
        return form

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return a field with its unit beside it, and a share in percent."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        return field and form_field(db_field.name, field)

    def changeform_view(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Show the form again if the database cannot store the values."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (DatabaseError, UnicodeError) as error:
            if request.method != "POST" or not is_bad_value(error):
                raise
            request.circuits_form_is_refused = True
            return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save only the fields of the form, since the state has gone on since it was read.

        Raises:
            PermissionDenied: The user may not change this circuit. An editable list has not asked
                about each circuit.
        """
        if change and not self.has_change_permission(request, obj):
            raise PermissionDenied
        held = [name for name in POLICY_FIELDS if name in form.cleaned_data]
        if change:
            self._say_carried(request, save_policy(obj, held))
        else:
            obj.save()
        for caution in cautions(plan_of(obj)):
            self.message_user(request, caution, messages.WARNING)

    def _say_carried(self, request: HttpRequest, number: int) -> None:
        if number:
            text = ngettext(
                "%d circuit of the family had the old value and has the new one too.",
                "%d circuits of the family had the old value and have the new one too.",
                number,
            )
            self.message_user(request, text % number)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the circuit's state above the form, and its last transitions below."""
        circuit = kwargs.get("obj")
        if circuit is not None:
            context |= self.page_context(request, display.shown_by_name(circuit))
            context |= self._forecast(request, circuit, context["adminform"].form)
            # Django shows the errors below what our template puts at the top; we show them first.
            context |= {"form_errors": context.get("errors"), "errors": None}
        return super().render_change_form(request, context, *args, **kwargs)

    def _forecast(self, request: HttpRequest, circuit: Circuit, form: Any) -> dict[str, Any]:
        """Return the forecast of the policy, and of the values in the form."""
        saved = self.get_queryset(request).filter(pk=circuit.pk).first() or circuit
        typed = form.previewed if isinstance(form, CircuitForm) else None
        return {
            "forecast": of_policy(saved, reading_of(saved).now, typed),
            "preview": PREVIEW if self.has_change_permission(request, circuit) else "",
        }

    def page_context(self, request: HttpRequest, circuit: Circuit) -> dict[str, Any]:
        """Add the circuit's state, its buttons, charts, incidents and last changes."""
        reading = reading_of(circuit)
        evidence = gather([reading])[circuit.pk]
        may = may_operate(self, request, circuit)
        advised = advice(reading, evidence) if may else Advice()
        return super().page_context(request, circuit) | {
            "status": display.status(reading, evidence),
            "advice": advised.words,
            "buttons": tuple(results.buttons(reading, advised.key)) if may else (),
            **page.of_circuit(reading),
        }

    def get_urls(self) -> list[URLPattern]:
        """Add the permanent URLs of incidents."""
        view = view_of(self, self.incident_view)
        address = "<path:object_id>/incident/<int:generation>/"
        return [url_path(address, view, name="circuits_circuit_incident"), *super().get_urls()]

    @method_decorator(require_safe)
    def incident_view(
        self, request: HttpRequest, object_id: str, generation: int
    ) -> TemplateResponse:
        """Show an incident: when it began, how long it lasted, why, and its changes."""
        circuit = self.get_object(request, unquote(object_id))
        if not may_see(self, request, circuit):
            raise PermissionDenied
        if circuit is None:
            return self.gone(request, _("This circuit is no longer there."))
        # Any generation of an incident leads to it, since a link may not know the first one.
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

    def has_delete_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        """Return whether the user may delete a circuit. They must be allowed to see it too."""
        may_delete = super().has_delete_permission(request, obj)
        is_hidden = obj is not None and has_rule_for_each(self) and not may_see(self, request, obj)
        return may_delete and not is_hidden

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Allow the history to be deleted with its circuit, though not by itself."""
        to_delete, count, missing, protected = super().get_deleted_objects(objs, request)
        return to_delete, count, missing - {Transition._meta.verbose_name}, protected


class HistoryAdmin(SteadyAdmin):
    """A read-only list of changes."""

    list_per_page = 50
    paginator = BoundedPaginator
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = display.NOTHING

    class Media:
        css = {"all": STYLES}
        js = (SCRIPT,)

    @admin.display(description=_("circuit"))
    def circuit_link(self, transition: Transition) -> str:
        return self._link("change", transition.circuit, transition.circuit_id)

    def _link(self, page: str, words: Any, *key: int) -> str:
        """Return a link to a page of a circuit, or only its text if the site has no such page."""
        name, site = f"admin:circuits_circuit_{page}", self.admin_site.name
        try:
            url = reverse(name, args=key, current_app=site)
        except NoReverseMatch:
            return str(words)
        return format_html('<a href="{}">{}</a>', url, words)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transition]:
        """Return the changes. Circuits are prefetched, since a join may lose the index's order."""
        rows: QuerySet[Transition] = super().get_queryset(request)
        return rows.prefetch_related("circuit")

    def has_view_permission(self, request: HttpRequest, obj: Transition | None = None) -> bool:
        """Return whether the user may see the history, for which seeing the circuit is enough."""
        names = ("circuits.view_circuit", "circuits.view_transition", "circuits.change_transition")
        may = any(has_perm(request, name) for name in names)
        circuits = circuits_on(self.admin_site)
        return may and (obj is None or may_see_history(circuits, request, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return false: nobody adds to the history by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Transition | None = None) -> bool:
        """Return false: nobody rewrites the history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Transition | None = None) -> bool:
        """Return false: changes are deleted with their circuit only."""
        return False


@admin.register(Transition)
class TransitionAdmin(HistoryAdmin):
    """The read-only history of all circuits."""

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
    search_fields = ("circuit__name", "actor")
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

    @admin.display(description=_("at"))
    def moment(self, transition: Transition) -> str:
        return display.at(transition.at)

    @admin.display(description=_("change"))
    def change(self, transition: Transition) -> str:
        return display.change(transition)

    @admin.display(description=_("incident"))
    def incident_link(self, transition: Transition) -> str:
        if not transition.is_opening:
            return display.NOTHING
        return self._link("incident", _("Incident"), transition.circuit_id, transition.generation)

    @admin.display(description=_("detail"))
    def short_detail(self, transition: Transition) -> str:
        return display.shortened(transition.detail)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list whose cost does not grow with the history."""
        return HistoryList

    def get_urls(self) -> list[URLPattern]:
        """Add the URL of the download."""
        view = view_of(self, self.export_view)
        return [url_path("export/", view, name="circuits_transition_export"), *super().get_urls()]

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send all changes that match the filters and the search, more than the list shows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            history: Any = self.get_changelist_instance(request)
            found = history.all_matching(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest(_("This filter cannot be understood."))
        name = f"circuits-history-{local_time(timezone.now()):%Y-%m-%d}.csv"
        is_async = isinstance(request, ASGIRequest)
        return StreamingHttpResponse(
            export.blocks_async(found) if is_async else export.blocks(found),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


@admin.register(Opening)
class IncidentAdmin(HistoryAdmin):
    """The incidents of all circuits, each with a page that shows its changes."""

    list_display = ("opened", "circuit_link", "lasted", "cause", "who", "trials", "refused")
    list_filter = (GoesOnFilter, ("at", OpenedFilter), CauseFilter)
    list_per_page = 25
    search_fields = ("circuit__name", "actor", "detail")
    fields = ("opened", "circuit_link", "reason", "detail", "actor")

    @admin.display(description=_("opened"))
    def opened(self, opening: Opening) -> str:
        return display.at(opening.at)

    @admin.display(description=_("lasted"))
    def lasted(self, opening: Any) -> str:
        words = display.lasted(
            opening.incident_in_words["duration"], is_over=opening.incident_in_words["is_over"]
        )
        return display.labelled(_("lasted"), words)

    @admin.display(description=_("why"))
    def cause(self, opening: Any) -> str:
        return display.cause(opening)

    @admin.display(description=_("failed trials"))
    def trials(self, opening: Any) -> str:
        number = display.at_least(
            opening.incident_in_words["failed_trials"], is_cut=opening.incident_in_words["is_cut"]
        )
        return display.labelled(_("failed trials"), number)

    @admin.display(description=_("refused"))
    def refused(self, opening: Any) -> str:
        number = display.at_least(
            opening.incident_in_words["refusals"], is_cut=opening.incident_in_words["is_cut"]
        )
        return display.labelled(_("refused"), number)

    @admin.display(description=_("actor"))
    def who(self, opening: Opening) -> str:
        return display.labelled(_("actor"), opening.actor or display.NOTHING)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the openings."""
        return super().get_queryset(request).filter(incidents.OPENS)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that reads the incident of each opening."""
        return IncidentList


# Show on the admin's first page how many circuits are down. A site with an index template of its
# own keeps it, and can use the tag `circuits_panel` there.
if admin.site.index_template is None:
    admin.site.index_template = "admin/circuits/index.html"
