"""The URLs of the host."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("fail/", views.fail),
    path("succeed/", views.succeed),
    path("afail/", views.afail),
]
