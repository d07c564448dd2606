"""Finds the port to serve on; `python -m cbproject.ports` prints it."""

import os
import socket
import sys

HOST = "127.0.0.1"
FIRST_PORT = 5000
TRIES = 100


def free_port(first: int = FIRST_PORT) -> int:
    """The first port from `first` on that nothing listens on."""
    for port in range(first, min(first + TRIES, 65536)):
        if _is_free(port):
            return port
    raise OSError(f"No free port from {first} on: stop something, or set PORT to another start.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an earlier run that are still closing do not block a port.
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
