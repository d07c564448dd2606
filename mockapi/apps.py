"""The configuration of the app, which keeps the mock service off production sites."""

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class MockApiConfig(AppConfig):
    """Refuses to load the app unless DEBUG or MOCKAPI_ENABLED is on."""

    name = "mockapi"
    verbose_name = gettext_lazy("Mock remote service")

    def ready(self) -> None:
        # Anyone who can reach /slow can occupy a worker for half a minute. That is fine on a
        # developer's machine; on a public site it must be a deliberate choice.
        if not (settings.DEBUG or getattr(settings, "MOCKAPI_ENABLED", False)):
            raise ImproperlyConfigured(
                _(
                    "mockapi is a development mock and does not load when DEBUG is off: remove it "
                    "from INSTALLED_APPS, or set MOCKAPI_ENABLED = True if you mean to serve it."
                )
            )
