"""Links to the admin in texts that are read outside it."""

from __future__ import annotations

import pytest
from django.urls import get_script_prefix, set_script_prefix
from pytest_django import Settings

from circuits.links import incident_link

PAGE = "admin/circuits/circuit/5/incident/7/"


def with_site(settings: Settings, url: str) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SITE_URL": url}


@pytest.mark.parametrize("url", ["https://site.example", "https://site.example/"])
def test_it_is_the_page_on_the_site(settings: Settings, url: str) -> None:
    with_site(settings, url)
    assert incident_link(5, 7) == f"https://site.example/{PAGE}"


def test_a_path_before_the_site_is_there_once(settings: Settings) -> None:
    with_site(settings, "https://site.example/shop")
    before = get_script_prefix()
    set_script_prefix("/shop/")  # as in a request, and unlike in a worker
    try:
        assert incident_link(5, 7) == f"https://site.example/shop/{PAGE}"
    finally:
        set_script_prefix(before)
    assert incident_link(5, 7) == f"https://site.example/shop/{PAGE}"


def test_there_is_none_without_the_setting_an_admin_or_a_row(settings: Settings) -> None:
    assert incident_link(5, 7) == ""
    with_site(settings, "https://site.example")
    assert incident_link(0, 7) == ""
    settings.ROOT_URLCONF = "tests.circuits.empty_urls"
    assert incident_link(5, 7) == ""
