"""Runs the reference project as a user does, in processes of its own."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from django.conf import settings

DEVELOPMENT = {"DJANGO_SECRET_KEY": "only-for-tests", "DJANGO_DEBUG": "true"}


class Run(Protocol):
    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Return a function that runs Python with the project's default settings, except for `env`."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env={**project_environment(tmp_path), **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def manage(python: Run) -> Run:
    """Return a function that runs a management command with the same settings."""
    return partial(python, "manage.py")


@pytest.fixture
def migrated(manage: Run) -> Run:
    """Return the same with the settings for development, after migrating both databases."""
    run: Run = partial(manage, **DEVELOPMENT)
    for alias in ("default", "circuits"):
        result = run("migrate", "--verbosity", "0", "--database", alias)
        assert result.returncode == 0, result.stderr
    return run


def project_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process of the project, without the tests' or developer's."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DJANGO_SETTINGS_MODULE": "cbproject.settings",
        "DJANGO_ENV_FILE": os.devnull,
        "VAR_DIR": str(folder / "var"),
    }
