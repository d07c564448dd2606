"""The app's configuration, which keeps the mock service off production sites."""

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class MockApiConfig(AppConfig):
    name = "mockapi"
    verbose_name = gettext_lazy("Mock remote service")

    def ready(self) -> None:
        # Anyone who reaches /slow can hold a worker for half a minute: fine on a developer's
        # machine, not on a public site, so it takes a deliberate setting to load it there.
        if not (settings.DEBUG or getattr(settings, "MOCKAPI_ENABLED", False)):
            raise ImproperlyConfigured(
                _(
                    "mockapi is a development mock and does not load when DEBUG is off: remove it "
                    "from INSTALLED_APPS, or set MOCKAPI_ENABLED = True if you mean to serve it."
                )
            )
