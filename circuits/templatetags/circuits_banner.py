"""The tag that shows on the circuits' pages that faults are injected."""

from __future__ import annotations

from typing import Any

from django import template

from ..console.banner import of_request

register = template.Library()


@register.inclusion_tag("admin/circuits/banner.html", takes_context=True)
def circuits_banner(context: Any) -> dict[str, Any]:
    """Show into which circuits faults are injected, if the user may see them."""
    request = context.get("request")
    return {} if request is None else of_request(request)
