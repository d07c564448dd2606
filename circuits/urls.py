"""The URLs of the pages for monitoring, to include in a site's own."""

from django.urls import path

from . import views

app_name = "circuits_status"

urlpatterns = [
    path("health/", views.health, name="health"),
    path("metrics/", views.metrics, name="metrics"),
]
