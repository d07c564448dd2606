"""The form that confirms an operation."""

from __future__ import annotations

from typing import Any, Final, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..core.injection import DELAY_LIMITS, FAILURES_LIMITS
from ..core.status import Mode
from ..exceptions import ModeChangedError
from ..models import MODES
from ..redaction import ERROR_LENGTH
from ..steering.handle import NOTHING_INJECTED
from ..steering.operations import INJECTED_SECONDS, OPERATIONS, spoken
from .policy_form import SECONDS, PercentField, UnitWidget

#: The choices for how long a mode lasts, in seconds. The command accepts any time.
TIMES: Final = (300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)

#: The choice that is preselected, so that nobody forgets a circuit that refuses every call.
PROPOSED: Final = {"force_open": 3_600}

#: The choices for how long faults are injected, in seconds, and the share of failures proposed.
INJECTION_TIMES: Final = (60, 300, 600, 1_800, 3_600)
PROPOSED_FAILURES: Final = 0.5


class ConfirmationForm(forms.Form):
    """The form that is shown before an operation: what is asked, why, and for how long."""

    failures = PercentField(
        limits=FAILURES_LIMITS,
        label=gettext_lazy("Calls that fail"),
        initial=PROPOSED_FAILURES,
        help_text=gettext_lazy("The share of calls that fails without reaching the remote."),
        widget=UnitWidget(forms.NumberInput(attrs={"min": 0, "max": 100, "step": "any"}), "%"),
    )
    delay = forms.FloatField(
        label=gettext_lazy("Delay of the others"),
        initial=0,
        min_value=DELAY_LIMITS.least,
        max_value=DELAY_LIMITS.most,
        help_text=gettext_lazy("By how much the other calls are late, up to 60 seconds."),
        widget=UnitWidget(forms.NumberInput(attrs={"min": 0, "max": 60, "step": "any"}), SECONDS),
    )
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
        operation, times = OPERATIONS[key], cast(Any, self.fields["seconds"])
        if operation.takes_faults:
            times.choices = [(each, spoken(each)) for each in INJECTION_TIMES]
            times.initial, times.required = INJECTED_SECONDS, True
        else:
            times.choices = [
                ("", _("until somebody sets it back")),
                *((each, spoken(each)) for each in TIMES),
            ]
            times.initial = PROPOSED.get(key)
            del self.fields["failures"], self.fields["delay"]
        if not operation.takes_reason:
            del self.fields["reason"]
        if not (operation.may_end or operation.takes_faults):
            del self.fields["seconds"]

    def clean(self) -> dict[str, Any] | None:
        """Refuse to inject nothing."""
        asked = self.cleaned_data
        if "failures" in asked and "delay" in asked and not (asked["failures"] or asked["delay"]):
            raise ValidationError(_(NOTHING_INJECTED), code="nothing")
        return super().clean()

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
