"""A connection to the circuits' database that one thread asks by, and another can cut off.

No driver lets a thread stop waiting for a server that has fallen silent. Shutting the socket down
from another thread does: the driver then raises the error of a lost connection.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from django.db import Error, connections

from .. import conf
from ..storage.errors import FORESEEN, SilentError
from .underway import FOREVER

T = TypeVar("T")


class Line:
    """A thread's connection to the circuits' database, which it lends to other threads.

    Only one thread may use it at a time. Whoever lends it sees to that.
    """

    def __init__(self) -> None:
        self._wrapper: Any = None
        self._driver: Any = None
        # A duplicate of the driver's own, so that what is shut down is never another connection
        # that has got the same descriptor.
        self._socket: socket.socket | None = None
        self._cutting = Lock()
        self._asked_at = FOREVER
        self._is_cut = False

    def keep(self) -> None:
        """Make the calling thread's connection ready to be lent, if it is open."""
        wrapper: Any = connections[conf.get().database]
        if not wrapper.allow_thread_sharing:
            wrapper.inc_thread_sharing()
        if self._socket is not None:
            self._socket.close()
        self._wrapper, self._driver = wrapper, wrapper.connection
        self._socket = _socket_of(wrapper)
        self._is_cut = False

    def is_open(self) -> bool:
        """Return whether the connection is open, and can be cut off."""
        wrapper = self._wrapper
        return (
            self._socket is not None
            and wrapper.connection is self._driver
            and wrapper.alias == conf.get().database
        )

    def lend(self) -> None:
        """Begin to use the connection; the answer is awaited from now on."""
        self._asked_at = monotonic()

    def ask(self, work: Callable[[], T]) -> T:
        """Do work with this connection in place of the calling thread's own.

        Raises:
            SilentError: The connection was cut off before the answer came. The database may have
                done the work.
        """
        wrapper, is_clean = self._wrapper, True
        own = connections[wrapper.alias]
        connections[wrapper.alias] = wrapper
        try:
            return work()
        except BaseException as error:
            # Any other, such as a time limit raised by a signal, may have cut an answer short.
            is_clean = isinstance(error, FORESEEN)
            if self._is_cut and isinstance(error, Error):
                raise SilentError from error
            raise
        finally:
            with self._cutting:
                self._asked_at = FOREVER
            connections[wrapper.alias] = own
            if self._is_cut or not is_clean:
                wrapper.close()

    def is_asked(self) -> bool:
        """Return whether the connection is lent, and an answer is awaited."""
        return self._asked_at < FOREVER

    def cut_if(self, is_over: Callable[[float], bool]) -> None:
        """Cut the connection off if nobody should wait for its answer any longer.

        Args:
            is_over: Returns whether to stop waiting for an answer, by the moment at which it was
                asked for on the monotonic clock.
        """
        with self._cutting:
            if self._socket is not None and self.is_asked() and is_over(self._asked_at):
                self._is_cut = True
                with suppress(OSError):  # it was disconnected already
                    self._socket.shutdown(socket.SHUT_RDWR)


def _socket_of(wrapper: Any) -> socket.socket | None:
    """Return a duplicate of the connection's socket; None if it is closed, or has no socket."""
    with suppress(AttributeError, OSError, wrapper.Database.Error):
        return socket.socket(fileno=os.dup(wrapper.connection.fileno()))
    return None
