"""Applies typed values such as ``threshold=3 failure_rate=30%`` to a circuit without saving it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from ..exceptions import InvalidInputError
from ..models import POLICY_FIELDS, Circuit

_YES_OR_NO: Final = {"yes": True, "true": True, "no": False, "false": False}


def with_changes(
    circuit: Circuit, changes: Sequence[str], fields: Collection[str] = POLICY_FIELDS
) -> Circuit:
    """Return a copy of a circuit with some values changed; it must not be saved.

    Args:
        changes: The new values, such as ``threshold=3``.
        fields: The fields that may be changed.

    Raises:
        InvalidInputError: A field may not be changed, or a value is not valid.
    """
    changed = copy(circuit)
    for change in changes:
        name, _equals, text = change.partition("=")
        name = name.replace("-", "_")
        if name not in fields:
            message = _("%(change)r is no FIELD=VALUE of a policy; fields are %(fields)s.")
            raise InvalidInputError(message, change=change, fields=", ".join(fields))
        setattr(changed, name, _value(name, text))
    return changed


def _value(name: str, text: str) -> Any:
    try:
        if name == "respect_retry_after":
            return _yes_or_no(text)
        field: Any = Circuit._meta.get_field(name)
        if text.endswith("%"):
            return field.clean(float(text[:-1]) / 100, None)
        return field.clean(text, None)
    except (ValidationError, ValueError) as error:
        text = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise InvalidInputError("%(name)s: %(said)s", name=name, said=text) from error


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _YES_OR_NO:
        raise ValueError(_("it must be yes or no, not %r") % text)
    return _YES_OR_NO[text.lower()]
