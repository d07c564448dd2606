"""The page that records a circuit's calls, and replays them with other policies."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.urls import path as url_path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ..core.status import Mode
from ..exceptions import InvalidInputError
from ..models import Circuit
from ..reports import replay, statistics
from ..reports.readings import Reading, reading_of
from ..reports.replay import Result
from ..reports.statistics import Calls
from ..reports.timeline import Span
from ..steering import recording
from ..steering.permissions import may_operate, may_see
from ..storage import recordings
from . import display
from .charts import outcome_chart, timeline_chart
from .journal import LoggedAdmin
from .page import rate_limit, slots_over
from .sites import view_of

#: The most calls that are replayed while somebody waits for the page.
MOST_CALLS: Final = 50_000

#: The most characters of typed policies that are read.
MOST_TYPED: Final = 1_000


class ReplayAdmin(LoggedAdmin):
    """An admin of circuits whose calls can be recorded and replayed."""

    def get_urls(self) -> list[URLPattern]:
        """Add the URL of the page."""
        view = view_of(self, self.replay_view)
        address = url_path("<path:object_id>/replay/", view, name="circuits_circuit_replay")
        return [address, *super().get_urls()]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what policies would have done; on POST, start or stop a recording."""
        circuit = self.get_object(request, unquote(object_id))
        if not may_see(self, request, circuit):
            raise PermissionDenied
        if circuit is None:
            return self.gone(  # type: ignore[attr-defined,no-any-return]
                request, _("This circuit is no longer there.")
            )
        if request.method == "POST":
            return self._record(request, circuit)
        reading = reading_of(circuit)
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "admin/circuits/circuit/replay.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "title": _("Replay of %(circuit)s") % {"circuit": circuit},
                "subtitle": None,
                "original": circuit,
                "may_record": may_operate(self, request, circuit),
                **_page(reading, request.GET.get("try", "")[:MOST_TYPED]),
            },
        )

    def _record(self, request: HttpRequest, circuit: Circuit) -> HttpResponse:
        if not may_operate(self, request, circuit):
            raise PermissionDenied
        if "stop" in request.POST:
            recording.stop(circuit.name)
            sentence = _("The calls of %(circuit)s are no longer recorded.")
        else:
            recording.record(circuit.name)
            sentence = _("The calls of %(circuit)s are recorded for 24 hours.")
        self.message_user(request, sentence % {"circuit": circuit}, messages.SUCCESS)
        self.log_change(request, circuit, str(sentence % {"circuit": circuit}))
        site = self.admin_site.name
        page = reverse("admin:circuits_circuit_replay", args=(circuit.pk,), current_app=site)
        return HttpResponseRedirect(page)


def _page(reading: Reading, typed: str) -> dict[str, Any]:
    """Return the context of the page.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    circuit = reading.circuit
    found = recordings.find(circuit)
    error = ""
    try:
        policies = replay.policies_to_try(circuit, typed.split())
    except InvalidInputError as refusal:
        policies, error = replay.policies_to_try(circuit, []), refusal.worded(_)
    result = replay.result(circuit, policies, reading.now, MOST_CALLS)
    return {
        "recording": list(replay.of_recording(circuit, reading.now)),
        "is_recorded": found is not None,
        "is_recording": found is not None and recordings.is_under_way(found, reading.now),
        "typed": typed,
        "error": error,
        "fields": ", ".join(replay.FIELDS),
        "titles": replay.titles(),
        **({} if result is None else _of_result(reading, result)),
    }


def _of_result(reading: Reading, result: Result) -> dict[str, Any]:
    slots = slots_over(result.since, result.until)
    calls = statistics.read([reading.circuit.pk], slots).get(reading.circuit.pk)
    period = _("this time")
    charts = []
    for policy, replayed in result.replays:
        spans = [Span(each.state, Mode.AUTOMATIC, *each[1:]) for each in replayed.stays]
        chart = timeline_chart(spans, slots.start, slots.end, period)
        charts.append((policy.words or _("as it is"), chart))
    return {
        "rows": [
            list(zip(replay.titles(), replay.row_of(*each), strict=True)) for each in result.replays
        ],
        "cautions": list(replay.cautions(result)),
        "zone": display.zone(result.since),
        "charts": charts,
        "calls": outcome_chart(
            calls or [Calls()] * slots.number,
            slots.start,
            slots.seconds,
            period,
            rate_limit(reading.circuit),
        ),
    }
