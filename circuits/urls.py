"""The addresses of the pages for monitoring; include them where you like."""

from django.urls import path

from . import views

app_name = "circuits_status"

urlpatterns = [
    path("health/", views.health, name="health"),
    path("metrics/", views.metrics, name="metrics"),
]
