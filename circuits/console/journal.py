"""Writes entries of the admin's log in characters that its database can store."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import router
from django.http import HttpRequest

from ..models import Circuit
from ..storage.texts import fitted


class LoggedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin that can log any circuit, even if the log's table lacks characters of its name.

    The log entry comes after the act, so it must not fail. A circuit's name is stored as UTF-8 on
    MySQL too, but the log's table may have the database's own, smaller character set.
    """

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log that a circuit was made."""
        return self._log(super().log_addition, request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log that a circuit was changed or steered."""
        return self._log(super().log_change, request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Circuit]) -> Any:
        """Log that circuits are to be deleted."""
        circuits = list(queryset)
        log = super().log_deletions

        def write(*names: str) -> Any:
            return log(request, list(map(_named, circuits, names)))  # type: ignore[arg-type]

        return fitted(_alias(), write, *(circuit.name for circuit in circuits))

    def _log(self, log: Any, request: HttpRequest, circuit: Circuit, message: Any) -> Any:
        if not isinstance(message, str):  # a list is logged as JSON, which is ASCII
            return fitted(
                _alias(), lambda name: log(request, _named(circuit, name), message), circuit.name
            )
        return fitted(
            _alias(),
            lambda name, text: log(request, _named(circuit, name), text),
            circuit.name,
            message,
        )


def _alias() -> str:
    return router.db_for_write(LogEntry)


def _named(circuit: Circuit, name: str) -> Circuit:
    named = copy(circuit)
    named.name = name
    return named
