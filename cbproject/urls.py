"""The URLs of the site."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from cbproject import views

# The endpoints are listed one by one, since visitors must never choose what the site calls.
ENDPOINT = "(?P<endpoint>success|faulty|slow|flaky)"

urlpatterns: list[URLPattern | URLResolver] = [
    # A server prints this address when it starts, and the admin is all there is to see.
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("circuits/", include("circuits.urls")),
]

if settings.EXAMPLES_ENABLED:
    urlpatterns += [
        re_path(f"^examples/{ENDPOINT}$", views.remote, name="example"),
        re_path(f"^examples/async/{ENDPOINT}$", views.remote_async, name="example-async"),
    ]

if settings.MOCKAPI_ENABLED:
    urlpatterns.append(path("", include("mockapi.urls")))
