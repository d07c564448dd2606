"""The URLs of a site whose admin checks permissions for each circuit."""

from django.contrib.admin import AdminSite

from tests.circuits.console.ruled_sites import RuledAdmin, addresses

site = AdminSite()
urlpatterns = addresses(site, RuledAdmin)
