"""The tag that shows on the admin's first page how many circuits are down."""

from __future__ import annotations

from typing import Any

from django import template

from ..console.panel import of_request

register = template.Library()


@register.inclusion_tag("admin/circuits/panel.html", takes_context=True)
def circuits_panel(context: Any) -> dict[str, Any]:
    """Show how many circuits are down and which one is worst, if the user may see circuits."""
    request = context.get("request")
    return {} if request is None else of_request(request)
