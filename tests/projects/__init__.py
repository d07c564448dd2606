"""Small projects like those of users, made by `startproject` and run in processes of their own.

    def test_a_command(tmp_path: Path) -> None:
        project = Project.make(tmp_path, settings="CIRCUITS['FLUSH_SECONDS'] = 1").migrated()
        project.manage("circuits", "create", "payments")
        assert "payments" in project.manage("circuits", "list").stdout
        project.run("import circuits; circuits.get('payments').force_open()")

A project is named `mysite` and set up as the README's Quick start says, on SQLite files in its
folder; :mod:`tests.projects.databases` has the other databases. It uses the package in this
repository. Of the environment of this process, a project gets only `PATH` and `HOME`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from django.core.management import call_command

from .databases import FILES, Databases

#: The folder of the package.
ROOT: Final = Path(__file__).parents[2]

#: Seconds after which a command counts as hung. None takes long, but the machine may be busy.
PATIENCE: Final = 180.0

Done = subprocess.CompletedProcess[str]

_QUICK_START: Final = """
INSTALLED_APPS += ["circuits"]
MIDDLEWARE += ["circuits.middleware.CircuitOpenMiddleware"]
DATABASE_ROUTERS = ["circuits.routers.CircuitsRouter", *globals().get("DATABASE_ROUTERS", [])]
CIRCUITS = {"DATABASE": "circuits"}
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A project in a folder of its own.

    Args:
        folder: The folder of its ``manage.py``.
        databases: Its databases.
        python: The interpreter that runs it.
        env: Environment variables for everything that it runs.
    """

    folder: Path
    databases: Databases = FILES
    python: str = sys.executable
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        settings: str = "",
        urls: str = "",
        apps: Mapping[str, Mapping[str, str]] | None = None,
        databases: Databases = FILES,
    ) -> Project:
        """Make a project.

        Args:
            folder: An empty folder.
            settings: Python code that is appended to ``mysite/settings.py``.
            urls: Python code that replaces ``mysite/urls.py``.
            apps: The files of its own apps, such as ``{"shop": {"models.py": "..."}}``.
            databases: Its databases.
        """
        project = cls(folder, databases)
        call_command("startproject", "mysite", folder, verbosity=0)
        for app, files in (apps or {}).items():
            project.write(f"{app}/__init__.py", "")
            for name, text in files.items():
                project.write(f"{app}/{name}", text)
        installed = f"INSTALLED_APPS += {list(apps or ())!r}\n"
        with (folder / "mysite" / "settings.py").open("a") as file:
            file.write(databases.settings + _QUICK_START + installed + textwrap.dedent(settings))
        if urls:
            project.write("mysite/urls.py", urls)
        return project

    def with_env(self, **variables: str) -> Project:
        """Return the same project with more environment variables."""
        return replace(self, env={**self.env, **variables})

    def write(self, name: str, text: str) -> None:
        """Write a file of the project; the text may be indented."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def migrated(self) -> Project:
        """Make all tables, and return the project."""
        for arguments in self.databases.migrations:
            self.manage("migrate", "--verbosity", "0", *arguments)
        return self

    def manage(self, *arguments: str, check: bool = True, patience: float = PATIENCE) -> Done:
        """Run ``manage.py``. Unless ``check`` is off, fail with its output if the command fails."""
        return self._python("manage.py", *arguments, check=check, patience=patience)

    def run(self, code: str, *, check: bool = True, patience: float = PATIENCE) -> Done:
        """Run Python code in the project, and wait for its process to end."""
        set_up = "import django; django.setup()\n"
        return self._python("-c", set_up + textwrap.dedent(code), check=check, patience=patience)

    def pytest(self, *arguments: str, check: bool = True, patience: float = PATIENCE) -> Done:
        """Run pytest with pytest-django and this package's plugin, as if it were installed."""
        installed = any(each.name == "circuits" for each in entry_points(group="pytest11"))
        plugin = () if installed else ("-p", "circuits.pytest_plugin")
        return self._python("-m", "pytest", *plugin, *arguments, check=check, patience=patience)

    def environment(self) -> dict[str, str]:
        """Return the complete environment of the commands of this project."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(Path.home()),
            "PYTHONPATH": os.pathsep.join((str(self.folder), str(ROOT))),
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            **self.env,
        }

    def _python(self, *arguments: str, check: bool, patience: float) -> Done:
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
        )
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done
