"""Processes of their own that do one thing at the same time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

#: Seconds until all processes have heard of what they are to begin together.
HEADSTART: Final = 0.1

#: Seconds that a task may take.
PATIENCE: Final = 120.0


class Crew:
    """Some processes, each with Django set up and nothing else known.

    Args:
        members: One executor for each process, so that each does its own share.
    """

    def __init__(self, members: list[ProcessPoolExecutor]) -> None:
        self.members = members

    def run(self, task: Callable[..., Any], *args: Any, size: int | None = None) -> list[Any]:
        """Run ``task(start, *args)`` in each process and return what they return.

        Args:
            task: A function of a module. ``start`` is a moment on the monotonic clock, which the
                processes of one machine share, at which all are to begin.
            size: How many processes take part; all by default.
        """
        start = time.monotonic() + HEADSTART
        members = self.members[:size]
        futures = [member.submit(task, start, *args) for member in members]
        return [future.result(PATIENCE) for future in futures]


@contextmanager
def crew(size: int) -> Iterator[Crew]:
    """Give that many processes, ready to begin."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        members = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn, initializer=_set_up))
            for _ in range(size)
        ]
        for ready in [member.submit(os.getpid) for member in members]:
            ready.result(PATIENCE)
        yield Crew(members)


def wait_until(moment: float) -> None:
    """Sleep until a moment on the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def _set_up() -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
