"""Finds the admin site of a page: each view of ours carries its admin, as those of Django do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import resolve


def view_of(model_admin: Any, view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a view of an admin as a page of its site, for staff only."""
    page: Any = model_admin.admin_site.admin_view(view)
    page.model_admin = model_admin
    return page  # type: ignore[no-any-return]


def site_of(request: HttpRequest) -> admin.AdminSite | None:
    """Return the admin site that a request is for; None if it is for no page of an admin."""
    page: Any = resolve(request.path_info).func
    owner = getattr(page, "model_admin", page)
    return getattr(owner, "admin_site", None)
