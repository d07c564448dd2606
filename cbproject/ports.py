"""Finds a free port to serve on: `python -m cbproject.ports` prints one."""

import os
import socket
import sys

HOST = "127.0.0.1"
FIRST_PORT = 5000
TRIES = 100


def free_port(first: int = FIRST_PORT) -> int:
    """Return the first port from `first` on that nothing listens on.

    Raises:
        OSError: None of the next `TRIES` ports is free.
    """
    for port in range(first, min(first + TRIES, 65536)):
        if _is_free(port):
            return port
    raise OSError(f"No free port from {first} on: stop something, or set PORT to another start.")


def any_port() -> int:
    """Return a free port that the system chooses. Two who ask at once get different ones."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers set this option too, so that closing connections of an earlier run do not block.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


if __name__ == "__main__":
    try:
        print(free_port(int(os.environ.get("PORT", FIRST_PORT))))  # noqa: T201
    except OSError as error:
        sys.exit(str(error))
