"""Aliases of a site that have nothing to do with circuits."""

from __future__ import annotations

from pathlib import Path

import django
import pytest

from . import Project


@pytest.mark.skipif(
    django.VERSION >= (6, 1), reason="Django asks every driver, before whatever command"
)
def test_a_driver_that_is_missing_stops_only_what_needs_it(tmp_path: Path) -> None:
    legacy = 'DATABASES["legacy"] = {"ENGINE": "no.such.engine", "NAME": "legacy"}'
    project = Project.make(tmp_path, settings=legacy).migrated()
    project.manage("circuits", "create", "payments")
    assert "payments" in project.manage("circuits", "list").stdout
    asked = project.manage("migrate", "--database", "legacy", check=False)
    assert "'no.such.engine' isn't an available database backend" in asked.stderr
