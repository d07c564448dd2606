"""The form of a circuit's policy: shares in percent, units beside the fields, and a preview."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.html import format_html
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from ..core.policy import POLICY_LIMITS, Limits
from ..exceptions import TooManyCircuitsError
from ..fields import validate_number
from ..models import Circuit
from ..storage.database import DatabaseStore

#: The name of the button that asks for a forecast of the values in the form.
PREVIEW: Final = "_preview"

#: The unit of a duration.
SECONDS: Final = pgettext_lazy("unit", "seconds")
_CALLS: Final = pgettext_lazy("unit", "calls")
_TRIALS: Final = pgettext_lazy("unit", "trials")

#: The unit of each field that has one. Shares are entered in percent.
UNITS: Final[dict[str, Any]] = {
    **dict.fromkeys(("timeout", "delay", "max_delay", "lease_seconds"), SECONDS),
    **dict.fromkeys(("ramp_up_seconds", "window_seconds", "slow_call_seconds"), SECONDS),
    "max_wait_seconds": SECONDS,
    **dict.fromkeys(("window_calls", "minimum_calls", "max_concurrent"), _CALLS),
    **dict.fromkeys(("half_open_max_calls", "success_threshold"), _TRIALS),
    "threshold": pgettext_lazy("unit", "failures"),
    "backoff_factor": pgettext_lazy("unit", "times"),
}

#: The fields that hold a share, with the help text that speaks of percent.
SHARES: Final[dict[str, Any]] = {
    "failure_rate": _("Share of failed calls that opens the circuit, or above which it throttles."),
    "slow_call_rate": _("Share of slow calls that opens the circuit, or above which it throttles."),
    "max_throttle": _("Largest share of calls that throttling refuses; the others try the remote."),
    "jitter": _("Share of a grown delay left to chance; 0 for none."),
    "enforce_share": _(
        "Share of refusals that is real; the other calls pass and are only counted as refused."
    ),
    "retry_share": _("Share of the recent calls that may be retried."),
}


class UnitWidget(forms.Widget):
    """A widget with a unit beside it, which screen readers read out with the field.

    Args:
        inner: The widget for the value.
        unit: The unit.
    """

    def __init__(self, inner: forms.Widget, unit: Any) -> None:
        self.inner = inner
        self.unit = unit
        super().__init__(inner.attrs)

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        """Render the value and its unit."""
        given = dict(attrs or {})
        key = f"{given.get('id', name)}_unit"
        given["aria-describedby"] = f"{key} {given.get('aria-describedby', '')}".strip()
        field = self.inner.render(name, value, given, renderer)
        unit = format_html('<span class="circuits-unit" id="{}">{}</span>', key, self.unit)
        return format_html('<span class="circuits-measure">{} {}</span>', field, unit)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return the value that was sent."""
        return self.inner.value_from_datadict(data, files, name)


class PercentField(forms.FloatField):
    """A share from 0 to 1, which people see and enter in percent."""

    def __init__(self, *, limits: Limits, **kwargs: Any) -> None:
        least, most = (round(100 * limit, 6) for limit in limits)
        super().__init__(**kwargs)
        self._checks: list[Any] = [
            validate_number,
            MinValueValidator(least),
            MaxValueValidator(most),
        ]

    def prepare_value(self, value: Any) -> Any:
        """Return a share in percent; a typed text is returned as it is."""
        return f"{100 * value:.10g}" if isinstance(value, (int, float)) else value

    def to_python(self, value: Any) -> Any:
        """Return typed percents as a share from 0 to 1.

        Raises:
            ValidationError: It is no number, or out of range.
        """
        percent = super().to_python(value)
        if percent is None:
            return None
        for check in self._checks:
            check(percent)
        return percent / 100


def form_field(name: str, field: Any) -> Any:
    """Return a field of the policy's form with its unit, and a share as a field in percent."""
    if name in SHARES:
        asked: Any = PercentField(
            limits=POLICY_LIMITS[name],
            label=field.label,
            help_text=SHARES[name],
            required=field.required,
            initial=field.initial,
            widget=field.widget,
        )
        asked.widget = UnitWidget(asked.widget, "%")
        return asked
    if name in UNITS:
        field.widget = UnitWidget(field.widget, UNITS[name])
    return field


class CircuitForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a circuit's policy."""

    #: Whether the database has refused the values.
    is_refused = False

    #: Whether the values are only to be forecast.
    is_preview = False

    def is_valid(self) -> bool:
        """Return whether the values may be saved; those of a preview may not."""
        return super().is_valid() and not self.is_preview

    def clean(self) -> dict[str, Any] | None:
        """Refuse a new circuit if there are too many, and values that the database refused."""
        if self.is_refused:
            refusal_of_text = _(
                "The database has no characters for what was entered: write it in ASCII."
            )
            raise ValidationError(refusal_of_text, code="refused")
        if self.instance.pk is None:
            try:
                DatabaseStore().check_room(self.cleaned_data.get("name", ""))
            except TooManyCircuitsError as refusal:
                raise ValidationError(refusal.worded(gettext), code="too_many") from refusal
        return super().clean()

    @property
    def previewed(self) -> Circuit | None:
        """The circuit with the values to forecast; None without a preview, or if they are wrong."""
        return self.instance if self.is_preview and not self.errors else None
