"""The pages of the admin that steer circuits. Each asks for confirmation first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from time import monotonic
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import model_ngettext, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.urls import path as url_path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from .. import conf
from ..core.status import Mode
from ..exceptions import ModeChangedError
from ..models import Circuit
from ..redaction import redact_line
from ..reports.readings import reading_of
from ..steering.operations import OPERATIONS, Operation, offered
from ..steering.permissions import has_perm, may_operate, seen, username_of
from . import display, results
from .confirm import ConfirmationForm, mode_seen, several
from .journal import LoggedAdmin
from .paging import BoundedPaginator
from .sites import view_of

#: Seconds after which no further circuit of a selection is steered, so that the page is answered.
OPERATE_SECONDS: Final = 20.0

#: The most circuits of a selection that the confirmation page names.
NAMED: Final = 50


def _action(key: str, operation: Operation) -> Callable[..., HttpResponse]:
    permission = "inject" if operation.is_of_injection else "operate"

    @admin.action(permissions=[permission], description=operation.label)
    def act(
        circuits: OperatingAdmin, request: HttpRequest, chosen: QuerySet[Circuit]
    ) -> HttpResponse:
        # No more circuits than the list counts, even if "select all" means more.
        return circuits.confirm_many(request, key, list(chosen[: BoundedPaginator.limit]))

    act.__name__ = key
    return act


class OperatingAdmin(LoggedAdmin):
    """An admin of circuits that steers one or many of them, after a confirmation."""

    actions = tuple(_action(key, operation) for key, operation in OPERATIONS.items())

    def has_operate_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        """Return whether the user may steer a circuit, or any circuit if none is given.

        This is a permission apart from that to edit its policy. Nobody may steer a circuit that
        they may not see; :func:`circuits.steering.permissions.may_operate` asks for both.
        """
        return has_perm(request, "circuits.operate_circuit")

    def has_inject_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        """Return whether the user may inject faults, which the settings have to allow too."""
        return conf.get().allow_injection and self.has_operate_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        """Add the URLs of the confirmation pages."""
        one = view_of(self, self.operate_view)
        many = view_of(self, self.operate_many_view)
        return [
            url_path("operate/<slug:key>/", many, name="circuits_circuit_operate_many"),
            url_path("<path:object_id>/operate/<slug:key>/", one, name="circuits_circuit_operate"),
            *super().get_urls(),
        ]

    def _check_operation(
        self, request: HttpRequest, key: str, circuit: Circuit | None = None
    ) -> None:
        if not may_operate(self, request, circuit):
            raise PermissionDenied
        if key not in offered():
            raise Http404

    # Not atomic, since a probe waits for a remote, and no transaction must be open meanwhile.
    @non_atomic_requests
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def operate_view(self, request: HttpRequest, object_id: str, key: str) -> HttpResponse:
        """Show what an operation will do; once confirmed, do it and redirect to the circuit."""
        circuit = self.get_object(request, unquote(object_id))
        self._check_operation(request, key, circuit)
        if circuit is None:
            return self.gone(request, _("This circuit is no longer there; nothing was done."))
        form = ConfirmationForm(key, _posted(request))
        page = reverse(
            "admin:circuits_circuit_change", args=(circuit.pk,), current_app=self.admin_site.name
        )
        if form.is_valid():
            seen_in = mode_seen(request.POST.get("mode", ""))
            try:
                report = self._operate(request, key, circuit, form.cleaned_data, seen_in)
            except ModeChangedError as changed:
                form.ask_again(changed)
                circuit = self.get_object(request, unquote(object_id)) or circuit
            else:
                self.message_user(request, report.text, report.level)
                return HttpResponseRedirect(page)
        return self._ask(
            request,
            form,
            title=_("%(operation)s: %(name)s")
            % {"operation": OPERATIONS[key].label, "name": circuit},
            operation=OPERATIONS[key].label,
            consequence=OPERATIONS[key].consequences(str(circuit), circuit),
            status=display.status(reading_of(circuit)),
            circuit=circuit,
            original=circuit,
            cancel=page,
        )

    # Many at once

    def confirm_many(
        self, request: HttpRequest, key: str, circuits: Sequence[Circuit]
    ) -> HttpResponse:
        """Ask for confirmation of an operation on the circuits that were selected in the list."""
        allowed = self._allowed(request, circuits)
        return self._ask_many(request, key, ConfirmationForm(key), allowed)

    @non_atomic_requests
    @method_decorator(require_POST)
    def operate_many_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """Steer each circuit of a selection and report the results.

        If time runs out, ask for confirmation of the rest.
        """
        self._check_operation(request, key)
        modes = _modes_seen(request)
        keys = modes.keys()
        chosen = self.get_queryset(request).filter(pk__in=keys).order_by("name")
        found = list(seen(self, request, chosen))
        self._say_gone(request, len(keys) - len(found))
        circuits = self._allowed(request, found)
        form = ConfirmationForm(key, request.POST)
        if not (circuits and form.is_valid()):
            return self._ask_many(request, key, form, circuits)
        left = self._operate_each(request, key, circuits, form.cleaned_data, modes)
        if left:
            return self._ask_many(request, key, form, left)
        return HttpResponseRedirect(self._list_url(request))

    def _allowed(self, request: HttpRequest, circuits: Sequence[Circuit]) -> Sequence[Circuit]:
        """Return the circuits that the user may steer, and warn of the others."""
        answers = [may_operate(self, request, circuit) for circuit in circuits]
        names = [str(circuit) for circuit, may in zip(circuits, answers, strict=True) if not may]
        if names:
            text = _("You may not steer %(names)s.") % {"names": results.listed(names)}
            self.message_user(request, text, messages.WARNING)
        return [circuit for circuit, may in zip(circuits, answers, strict=True) if may]

    def _operate_each(
        self,
        request: HttpRequest,
        key: str,
        circuits: Sequence[Circuit],
        asked: dict[str, Any],
        modes: Mapping[int, Mode | None],
    ) -> Sequence[Circuit]:
        """Steer the circuits until time runs out; return those that are left.

        Args:
            modes: The mode that each circuit was seen in, by its primary key.
        """
        end = monotonic() + OPERATE_SECONDS
        reports = []
        for circuit in circuits:
            if monotonic() >= end:
                break
            try:
                reports.append(self._operate(request, key, circuit, asked, modes[circuit.pk]))
            except ModeChangedError:
                reports.append(results.outdated(circuit.name))
        left = circuits[len(reports) :]
        for level, text in results.summarised(key, reports, len(left)):
            self.message_user(request, text, level)
        return left

    def _operate(
        self,
        request: HttpRequest,
        key: str,
        circuit: Circuit,
        asked: dict[str, Any],
        seen_in: Mode | None,
    ) -> results.Report:
        actor = username_of(request)
        report = results.steer(circuit.name, key, actor=actor, seen=seen_in, **asked)
        reason = redact_line(asked.get("reason") or "")
        why = _("Reason: %(reason)s") % {"reason": reason} if reason else ""
        self.log_change(request, circuit, f"{report.text} {why}".strip())
        return report

    # Pages

    def _ask(
        self, request: HttpRequest, form: ConfirmationForm, **context: Any
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "admin/circuits/circuit/operate.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "form": form,
                "subtitle": None,
                **context,
            },
        )

    def _ask_many(
        self, request: HttpRequest, key: str, form: ConfirmationForm, circuits: Sequence[Circuit]
    ) -> HttpResponse:
        if not circuits:
            self.message_user(
                request, _("There are no circuits to do this with; nothing was done.")
            )
            return HttpResponseRedirect(self._list_url(request))
        values = {
            "operation": OPERATIONS[key].label,
            "number": len(circuits),
            "circuits": model_ngettext(self.opts, len(circuits)),
        }
        action = reverse(
            "admin:circuits_circuit_operate_many", args=(key,), current_app=self.admin_site.name
        )
        return self._ask(
            request,
            form,
            title=_("%(operation)s: %(number)d %(circuits)s") % values,
            operation=OPERATIONS[key].label,
            consequence=OPERATIONS[key].consequences(several(len(circuits))),
            circuits=[(str(each), display.state_badge(each.state)) for each in circuits[:NAMED]],
            more=max(0, len(circuits) - NAMED),
            keys=",".join(str(each.pk) for each in circuits),
            modes=",".join(each.mode for each in circuits),
            action=self._with_filters(request, action),
            cancel=self._list_url(request),
        )

    def _say_gone(self, request: HttpRequest, number: int) -> None:
        if number > 0:
            text = ngettext(
                "%d circuit is no longer there.", "%d circuits are no longer there.", number
            )
            self.message_user(request, text % number, messages.WARNING)

    def gone(
        self, request: HttpRequest, sentence: Any, circuit: Circuit | None = None
    ) -> TemplateResponse:
        """Return a page with status 404 that says what is not there, or no longer."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": _("No longer there"),
            "sentence": sentence,
            "circuit": circuit,
        }
        return TemplateResponse(request, "admin/circuits/circuit/gone.html", context, status=404)

    def _list_url(self, request: HttpRequest) -> str:
        name = "admin:circuits_circuit_changelist"
        return self._with_filters(request, reverse(name, current_app=self.admin_site.name))

    def _with_filters(self, request: HttpRequest, url: str) -> str:
        """Return a URL that keeps the filters of the list."""
        filters = self.get_preserved_filters(request)
        return add_preserved_filters({"preserved_filters": filters, "opts": self.opts}, url)


def _posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _modes_seen(request: HttpRequest) -> dict[int, Mode | None]:
    """Return the mode that each circuit of a selection was seen in, by its primary key.

    The result has no more circuits than a list counts.
    """
    # All keys are in one field, since Django accepts no more than 1,000 fields.
    keys = re.findall(r"\b[0-9]{1,18}\b", request.POST.get("keys", ""))
    modes = request.POST.get("modes", "").split(",")
    pairs = zip_longest(keys[: BoundedPaginator.limit], modes[: len(keys)], fillvalue="")
    return {int(key): mode_seen(mode) for key, mode in pairs if key}
