"""Child processes that do the same task at the same time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

#: Seconds between handing out a task and its start, so that all processes begin together.
HEADSTART: Final = 0.1

#: Seconds within which a task must end.
PATIENCE: Final = 120.0


class Crew:
    """Child processes in which Django is set up and nothing else has happened.

    Args:
        members: One executor for each process, so that each process gets its own task.
    """

    def __init__(self, members: list[ProcessPoolExecutor]) -> None:
        self.members = members

    def run(self, task: Callable[..., Any], *args: Any, size: int | None = None) -> list[Any]:
        """Run ``task(start, *args)`` in each process and return the results.

        Args:
            task: A function at the top of a module. It begins its work at ``start``, a moment on
                the monotonic clock, which all processes of one machine share.
            size: How many processes take part; all by default.

        Raises:
            TimeoutError: A process did not finish within ``PATIENCE`` seconds.
        """
        start = time.monotonic() + HEADSTART
        members = self.members[:size]
        futures = [member.submit(task, start, *args) for member in members]
        return [future.result(PATIENCE) for future in futures]


@contextmanager
def crew(size: int) -> Iterator[Crew]:
    """Yield a crew of ``size`` processes that are ready to begin."""
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
