"""Makes links to the admin's pages for texts that are read elsewhere: mails, logs, exceptions."""

from __future__ import annotations

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, reverse

from . import conf


def incident_link(key: int, generation: int) -> str:
    """Return the URL of an incident's page, such as ``https://site.example/admin/...``.

    Args:
        key: The circuit's primary key.
        generation: Any generation of the incident.

    Returns:
        An empty text if ``SITE_URL`` is not set, or if the site has no admin of circuits.
    """
    site = conf.get().site_url.rstrip("/")
    if not site or not key:
        return ""
    try:
        path = reverse(
            "admin:circuits_circuit_incident", settings.ROOT_URLCONF, args=(key, generation)
        )
    except NoReverseMatch:
        return ""
    # During a request, the path begins with the script prefix; in a Celery worker, it does not.
    return f"{site}/{path.removeprefix(get_script_prefix())}"
