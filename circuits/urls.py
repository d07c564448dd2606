"""The addresses of the pages for monitoring; include them where you like."""

from django.urls import path

from . import monitoring

app_name = "circuits_status"

urlpatterns = [
    path("health/", monitoring.health, name="health"),
    path("metrics/", monitoring.metrics, name="metrics"),
]
