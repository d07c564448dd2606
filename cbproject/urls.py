"""The site's addresses."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from cbproject import views

# Named one by one: a caller must never be able to choose what address the site itself calls.
ENDPOINT = "(?P<endpoint>success|faulty|slow|flaky)"

urlpatterns: list[URLPattern | URLResolver] = [
    # The address that a server prints when it starts; there is nothing else to see there.
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
