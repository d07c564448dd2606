"""Runs the reference project as a user does: `manage.py` in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from django.conf import settings


class Manage(Protocol):
    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Runs a command under the project's own settings, all defaults but for `env`."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env={
                "PATH": os.environ["PATH"],
                "DJANGO_SETTINGS_MODULE": "cbproject.settings",
                "DJANGO_ENV_FILE": os.devnull,
                "VAR_DIR": str(tmp_path / "var"),
                **env,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
