"""The addresses of a site whose admin asks for each circuit."""

from django.contrib.admin import AdminSite

from tests.circuits.console.ruled_sites import RuledAdmin, addresses

site = AdminSite()
urlpatterns = addresses(site, RuledAdmin)
