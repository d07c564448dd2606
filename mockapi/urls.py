"""The URLs of the mock service, relative to where the site includes them."""

from django.urls import path

from . import views

app_name = "mockapi"

urlpatterns = [
    path("success", views.success, name="success"),
    path("faulty", views.faulty, name="faulty"),
    path("slow", views.slow, name="slow"),
    path("flaky", views.flaky, name="flaky"),
    path("health", views.health, name="health"),
    path("stats", views.stats, name="stats"),
    path("stats/reset", views.reset_stats, name="stats-reset"),
]
