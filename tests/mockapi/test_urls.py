import pytest
from django.test import Client
from django.urls import include, path, reverse

# This module is the site here: it shows that the mock can be included below any prefix.
urlpatterns = [path("mock/", include("mockapi.urls"))]

pytestmark = pytest.mark.urls(__name__)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("success", "/mock/success"),
        ("faulty", "/mock/faulty"),
        ("slow", "/mock/slow"),
        ("flaky", "/mock/flaky"),
        ("health", "/mock/health"),
        ("stats", "/mock/stats"),
        ("stats-reset", "/mock/stats/reset"),
    ],
)
def test_names_lead_to_addresses(name: str, address: str) -> None:
    assert reverse(f"mockapi:{name}") == address


def test_works_below_a_prefix(client: Client) -> None:
    assert client.get("/mock/success").status_code == 200
