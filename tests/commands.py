"""Running a management command as a shell would."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, cast

from django.core.management import load_command_class


class Terminal(StringIO):
    """An output that people look at."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Ended:
    """What a shell sees of a command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def table(self) -> list[list[str]]:
        """The lines of plain tables, cut where there are two spaces or more."""
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
