"""The project's configuration as an app."""

from django.apps import AppConfig


class CbprojectConfig(AppConfig):
    """Makes the project an app as well, so that Django finds its management commands."""

    name = "cbproject"
    verbose_name = "Reference project"
