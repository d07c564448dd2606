"""Every test meets a mock service that was just started, and none of them really sleeps."""

import pytest

from mockapi import chance, hits, views


@pytest.fixture(autouse=True)
def fresh_service(monkeypatch: pytest.MonkeyPatch) -> None:
    hits.hits.reset()
    monkeypatch.setattr(chance, "seeded_draws", chance.SeededDraws())


@pytest.fixture(autouse=True)
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps asked for, in place of sleeping."""
    asked: list[float] = []
    monkeypatch.setattr(views, "sleep", asked.append)
    return asked
