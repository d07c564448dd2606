"""The servers that `make test-services` needs, and a check that they can be reached."""

import os
import socket
import sys
from urllib.parse import urlsplit

SERVICES = {
    "PostgreSQL": ("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/circuits"),
    "MariaDB": ("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/circuits"),
    "Redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379/15"),
    "RabbitMQ": ("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}


def url(service: str) -> str:
    """Return the URL of a service: its environment variable, or else a default on this machine."""
    variable, default = SERVICES[service]
    return os.environ.get(variable, default)


def require(service: str) -> None:
    """End the program with one sentence if a service cannot be reached.

    Raises:
        SystemExit: The service cannot be reached.
    """
    address = urlsplit(url(service))
    assert address.hostname is not None
    assert address.port is not None
    try:
        socket.create_connection((address.hostname, address.port), timeout=3).close()
    except OSError as error:
        sys.exit(
            f"{service} cannot be reached at {address.hostname}:{address.port} ({error}): "
            f"start it, or set {SERVICES[service][0]} to where it is."
        )


if __name__ == "__main__":
    for name in SERVICES:
        require(name)
