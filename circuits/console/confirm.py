"""The form that confirms an operation."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..core.status import Mode
from ..exceptions import ModeChangedError
from ..models import MODES
from ..redaction import ERROR_LENGTH
from ..steering.operations import OPERATIONS, spoken

#: The choices for how long a mode lasts, in seconds. The command accepts any time.
TIMES: Final = (300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)

#: The choice that is preselected, so that nobody forgets a circuit that refuses every call.
PROPOSED: Final = {"force_open": 3_600}


class ConfirmationForm(forms.Form):
    """The form that is shown before an operation: the reason, and how long it is to last."""

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

    def __init__(self, key: str, *args: Any, **kwargs: Any) -> None:
        """Keep only the fields that the operation ``key`` has a use for."""
        super().__init__(*args, **kwargs)
        times: Any = self.fields["seconds"]
        times.choices = [
            ("", _("until somebody sets it back")),
            *((each, spoken(each)) for each in TIMES),
        ]
        times.initial = PROPOSED.get(key)
        if not OPERATIONS[key].takes_reason:
            del self.fields["reason"]
        if not OPERATIONS[key].may_end:
            del self.fields["seconds"]

    def ask_again(self, changed: ModeChangedError) -> None:
        """Say that somebody else has changed the mode since the page was made."""
        modes: dict[str, Any] = dict(MODES)
        error = ValidationError(
            _(
                "Meanwhile the mode has changed from %(before)s to %(now)s. "
                "Confirm once more if you still want it."
            ),
            params={"before": modes[changed.seen], "now": modes[changed.mode]},
            code="changed",
        )
        self.add_error(None, error)


def mode_seen(value: str) -> Mode | None:
    """Return the mode that a form was made in, by its hidden field; None if it does not say."""
    return Mode(value) if value in list(Mode) else None


def several(number: int) -> str:
    """Return a phrase for a number of circuits, to put into a sentence."""
    text = ngettext("this circuit", "these %(number)d circuits", number)
    return text % {"number": number}
