"""The pages of the admin that steer circuits: each asks before it does anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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

from . import display, steering
from .confirming import ConfirmationForm, consequence, several
from .models import Circuit
from .paging import BoundedPaginator
from .readings import reading_of

#: Seconds after which no further circuit of a selection is begun: the page must come back.
OPERATE_SECONDS: Final = 20.0

#: How many circuits of a selection are named before it is confirmed.
NAMED: Final = 50


def _action(key: str, label: Any) -> Callable[..., HttpResponse]:
    @admin.action(permissions=["operate"], description=label)
    def act(
        circuits: OperatingAdmin, request: HttpRequest, chosen: QuerySet[Circuit]
    ) -> HttpResponse:
        # Of all that a filter finds, those that the list has counted.
        return circuits.confirm_many(request, key, list(chosen[: BoundedPaginator.limit]))

    act.__name__ = key
    return act


class OperatingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Circuits that are steered, one or many, once it is confirmed."""

    actions = tuple(_action(key, label) for key, label in steering.LABELS.items())

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may steer circuits, which is apart from editing their policy."""
        return request.user.has_perm("circuits.operate_circuit")

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses of the confirmation pages."""
        one = self.admin_site.admin_view(self.operate_view)
        many = self.admin_site.admin_view(self.operate_many_view)
        return [
            url_path("operate/<slug:key>/", many, name="circuits_circuit_operate_many"),
            url_path("<path:object_id>/operate/<slug:key>/", one, name="circuits_circuit_operate"),
            *super().get_urls(),
        ]

    def _check_operation(self, request: HttpRequest, key: str) -> None:
        if not (self.has_view_permission(request) and self.has_operate_permission(request)):
            raise PermissionDenied
        if key not in steering.LABELS:
            raise Http404

    # A probe waits for a remote: no transaction of the site's may be held open for it.
    @non_atomic_requests
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def operate_view(self, request: HttpRequest, object_id: str, key: str) -> HttpResponse:
        """Say what an operation will do; once that is confirmed, do it and go back to the page."""
        self._check_operation(request, key)
        circuit = self.get_object(request, unquote(object_id))
        if circuit is None:
            return self.gone(request, _("This circuit is no longer there; nothing was done."))
        form = ConfirmationForm(key, _posted(request), mode=circuit.mode)
        page = reverse(
            "admin:circuits_circuit_change", args=(circuit.pk,), current_app=self.admin_site.name
        )
        if form.is_valid():
            said = self._operate(request, key, circuit, form.cleaned_data)
            self.message_user(request, said.text, said.level)
            return HttpResponseRedirect(page)
        return self._ask(
            request,
            form,
            title=_("%(operation)s: %(name)s")
            % {"operation": steering.LABELS[key], "name": circuit},
            operation=steering.LABELS[key],
            consequence=consequence(key, circuit.name, circuit),
            status=display.status(reading_of(circuit)),
            circuit=circuit,
            cancel=page,
        )

    # Many at once

    def confirm_many(
        self, request: HttpRequest, key: str, circuits: Sequence[Circuit]
    ) -> HttpResponse:
        """Ask about a selection of the list."""
        return self._ask_many(request, key, ConfirmationForm(key), circuits)

    @non_atomic_requests
    @method_decorator(require_POST)
    def operate_many_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """Steer each circuit of a selection and say how it went.

        What there was no time for is asked about again.
        """
        self._check_operation(request, key)
        keys = _keys(request)
        circuits = list(self.get_queryset(request).filter(pk__in=keys).order_by("name"))
        self._say_gone(request, len(keys) - len(circuits))
        form = ConfirmationForm(key, request.POST)
        if not (circuits and form.is_valid()):
            return self._ask_many(request, key, form, circuits)
        left = self._operate_each(request, key, circuits, form.cleaned_data)
        if left:
            return self._ask_many(request, key, form, left)
        return HttpResponseRedirect(self._list_url(request))

    def _operate_each(
        self, request: HttpRequest, key: str, circuits: Sequence[Circuit], asked: dict[str, Any]
    ) -> Sequence[Circuit]:
        """Steer the circuits while there is time; return those that there was none for."""
        end = monotonic() + OPERATE_SECONDS
        said = []
        for circuit in circuits:
            if monotonic() >= end:
                break
            said.append(self._operate(request, key, circuit, asked))
        left = circuits[len(said) :]
        for level, text in steering.summarised(key, said, len(left)):
            self.message_user(request, text, level)
        return left

    def _operate(
        self, request: HttpRequest, key: str, circuit: Circuit, asked: dict[str, Any]
    ) -> steering.Said:
        actor = request.user.get_username()
        said = steering.steer(circuit.name, key, actor=actor, **asked)
        reason = asked.get("reason")
        why = _("Reason: %(reason)s") % {"reason": reason} if reason else ""
        self.log_change(request, circuit, f"{said.text} {why}".strip())
        return said

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
            "operation": steering.LABELS[key],
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
            operation=steering.LABELS[key],
            consequence=consequence(key, several(len(circuits))),
            circuits=[(each.name, display.state_badge(each.state)) for each in circuits[:NAMED]],
            more=max(0, len(circuits) - NAMED),
            keys=",".join(str(each.pk) for each in circuits),
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
        """Say that something is not there, or no longer."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("No longer there"),
            "sentence": sentence,
            "circuit": circuit,
        }
        return TemplateResponse(request, "admin/circuits/circuit/gone.html", context, status=404)

    def _list_url(self, request: HttpRequest) -> str:
        name = "admin:circuits_circuit_changelist"
        return self._with_filters(request, reverse(name, current_app=self.admin_site.name))

    def _with_filters(self, request: HttpRequest, url: str) -> str:
        """Let an address remember what the list was filtered by."""
        filters = self.get_preserved_filters(request)
        return add_preserved_filters({"preserved_filters": filters, "opts": self.opts}, url)


def _posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _keys(request: HttpRequest) -> set[int]:
    """Return the keys of a selection, no more of them than a list has."""
    # In one field: Django takes no more than a thousand.
    found = re.findall(r"\b[0-9]{1,18}\b", request.POST.get("keys", ""))
    return set(map(int, found[: BoundedPaginator.limit]))
