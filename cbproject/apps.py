from django.apps import AppConfig


class CbprojectConfig(AppConfig):
    """Makes the project an app too, so that its management commands are found."""

    name = "cbproject"
    verbose_name = "Reference project"
