"""The small projects themselves: each is like a user's, on each database."""

from __future__ import annotations

from pathlib import Path

from . import Project
from .databases import Databases


def test_a_project_calls_through_a_circuit(tmp_path: Path, project_databases: Databases) -> None:
    project = Project.make(
        tmp_path,
        settings='CIRCUITS["CIRCUITS"] = {"payments": {"threshold": 3}}',
        databases=project_databases,
    ).migrated()
    assert "no issues" in project.manage("check").stdout
    project.run("""
        import circuits

        with circuits.guard("payments"):
            pass
    """)
    row = "from circuits.models import Circuit; print(Circuit.objects.get().total_successes)"
    assert project.run(row).stdout.split() == ["1"]
