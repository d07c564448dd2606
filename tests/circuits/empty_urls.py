"""The addresses of a site without an admin."""

urlpatterns: list[object] = []
