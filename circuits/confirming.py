"""What the admin asks before it steers a circuit, and what it says will happen."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .machine import Mode
from .models import MODES, Circuit
from .operations import OPERATIONS, spoken
from .redaction import ERROR_LENGTH
from .steering import PROBE

#: For how many seconds a mode may be set from the admin; the command takes any time.
TIMES: Final = (300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)


class ConfirmationForm(forms.Form):
    """What is asked before an operation is done."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=ERROR_LENGTH,
        required=False,
        help_text=gettext_lazy("Why, for those who look later: it is kept in the history."),
        widget=forms.TextInput(attrs={"autofocus": True}),
    )
    seconds = forms.TypedChoiceField(
        label=gettext_lazy("For how long"),
        coerce=int,
        empty_value=None,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the times.")},
    )

    def __init__(self, key: str, *args: Any, mode: str = "", **kwargs: Any) -> None:
        """Ask what there is to ask about an operation.

        Args:
            key: The operation.
            mode: The mode the circuit is in now, where it is one circuit.
        """
        super().__init__(*args, **kwargs)
        self._mode = mode
        times: Any = self.fields["seconds"]
        times.choices = [
            ("", _("until somebody sets it back")),
            *((each, spoken(each)) for each in TIMES),
        ]
        if key == PROBE:
            del self.fields["reason"]
        if key == PROBE or not OPERATIONS[key].may_end:
            del self.fields["seconds"]

    def clean(self) -> dict[str, Any]:
        """Ask again where somebody else has changed the mode since the page was made."""
        seen, modes = self.data.get("mode", self._mode), dict(MODES)
        if seen != self._mode and seen in modes:
            raise ValidationError(
                _(
                    "Meanwhile the mode has changed from %(before)s to %(now)s. "
                    "Confirm once more if you still want it."
                ),
                params={"before": modes[seen], "now": modes[self._mode]},
                code="changed",
            )
        return self.cleaned_data


# What will happen --------------------------------------------------------------------------------


def consequence(key: str, name: str, circuit: Circuit | None = None) -> list[str]:
    """Return sentences that say what an operation will do.

    Args:
        name: The circuit, or what several are called together.
        circuit: The circuit as it is now, if it is one.
    """
    if key == PROBE:
        return _probe_consequence(name, circuit)
    operation = OPERATIONS[key]
    said = [operation.consequence % {"name": name}]
    if operation.may_end:
        said.append(_("This lasts until somebody sets it back, or for the time chosen below."))
    if circuit is not None and key == "reset" and circuit.mode == Mode.FORCED_OPEN:
        return [_("%(name)s stays forced open; put it back to automatic first.") % {"name": name}]
    return said


def _probe_consequence(name: str, circuit: Circuit | None) -> list[str]:
    if circuit is None:
        said = _("One call will be made to the probe URL of each of %(name)s.") % {"name": name}
    elif circuit.probe_url:
        values = {"name": name, "url": circuit.probe_url}
        said = _("One call will be made through %(name)s, to %(url)s.") % values
    else:
        return [_("%(name)s has no probe URL, so there is nothing to call.") % {"name": name}]
    return [said, _("Its outcome counts like that of any other call; an open circuit refuses it.")]


def several(number: int) -> str:
    """Return what so many circuits are called in a sentence."""
    text = ngettext("this circuit", "these %(number)d circuits", number)
    return text % {"number": number}
