"""The site's addresses."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from cbproject import views

# Named one by one: a caller must never be able to choose what address the site itself calls.
ENDPOINT = "(?P<endpoint>success|faulty|slow|flaky)"

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("circuits/", include("circuits.urls")),
    re_path(f"^examples/{ENDPOINT}$", views.remote, name="example"),
    re_path(f"^examples/async/{ENDPOINT}$", views.remote_async, name="example-async"),
]

if settings.MOCKAPI_ENABLED:
    urlpatterns.append(path("", include("mockapi.urls")))
