"""Every test gets a freshly started mock service, and no test really sleeps."""

import pytest

from mockapi import chance, hits, views


@pytest.fixture(autouse=True)
def fresh_service(monkeypatch: pytest.MonkeyPatch) -> None:
    hits.hits.reset()
    monkeypatch.setattr(chance, "seeded_draws", chance.SeededDraws())


@pytest.fixture(autouse=True)
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the requested sleeps instead of sleeping."""
    asked: list[float] = []
    monkeypatch.setattr(views, "sleep", asked.append)
    return asked
