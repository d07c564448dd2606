"""Running a management command as a shell would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.management import load_command_class


class Terminal(StringIO):
    """An output stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Ended:
    """The result of a command as a shell sees it."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def table(self) -> list[list[str]]:
        """The lines of the output, split into cells at two or more spaces."""
        return [[text.strip() for text in line.split("  ") if text] for line in self.lines if line]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def shell(*argv: str, out: StringIO | None = None) -> Ended:
    """Run a command of the app, as ``manage.py`` does."""
    out, err = out or StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = _run(*argv)
    return Ended(status, out.getvalue(), err.getvalue())


def _run(*argv: str) -> int:
    try:
        load_command_class("circuits", argv[0]).run_from_argv(["manage.py", *argv])
    except SystemExit as ended:
        return cast(int, ended.code)
    return 0


def start_manage(
    folder: Path,
    *argv: str,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environment: str,
) -> subprocess.Popen[str]:
    """Start `manage.py` of the reference project, on databases of its own in a folder."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *argv],
        cwd=settings.BASE_DIR,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "cbproject.settings",
            "DJANGO_ENV_FILE": os.devnull,
            "DJANGO_SECRET_KEY": "only-for-tests",
            "DJANGO_DEBUG": "true",
            "VAR_DIR": str(folder),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
    )
