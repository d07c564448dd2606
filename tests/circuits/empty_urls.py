"""The URLs of a site without an admin."""

urlpatterns: list[object] = []
