"""The URLs of a site whose admin leaves circuits out of its query."""

from django.contrib.admin import AdminSite

from tests.circuits.console.ruled_sites import NarrowedAdmin, addresses

site = AdminSite()
urlpatterns = addresses(site, NarrowedAdmin)
