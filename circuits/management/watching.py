"""Keeps a table on the screen up to date, and carries on while the database is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from time import sleep

from django.db import Error
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import conf
from ..redaction import describe
from ..reports.words import local_time
from ..storage.errors import drop_connection
from .tables import Live, Table


def keep_showing(
    live: Live, read: Callable[[], Table], *, interval: float, times: int | None
) -> None:
    """Read and show a table again and again; if the database fails, say so once and go on.

    Args:
        live: The place to show it in.
        read: A function that reads the table from the circuits' database.
        interval: The pause between two attempts, in seconds.
        times: How many attempts to make; None for no end.

    Raises:
        django.db.Error: The circuits' database cannot be read at the first attempt.
    """
    last_read, is_lost = "", False
    for number in _numbers(times):
        if number:
            sleep(interval)
        try:
            table = read()
        except Error as error:
            if not last_read:
                raise
            if not is_lost:
                live.note(_lost(last_read, error))
            is_lost = True
            drop_connection(conf.get().database)
        else:
            live.show(table)
            last_read, is_lost = f"{local_time(timezone.now()):%H:%M:%S}", False


def _numbers(times: int | None) -> Iterable[int]:
    return count() if times is None else range(times)


def _lost(last_read: str, error: Error) -> str:
    sentence = _("Nothing new since %(time)s: the circuits' database cannot be read (%(error)s).")
    return sentence % {"time": last_read, "error": describe(error)}
