"""Serves the project over real HTTP from a thread of this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.db import connections


class _QuietHandler(WSGIRequestHandler):
    # Head and body are written apart, and the body would wait 40 ms for the head's receipt.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        pass


_application = get_wsgi_application()


def project(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """Serve the project and close the thread's connections; a database in use cannot be dropped."""
    try:
        return _application(environ, start)
    finally:
        connections.close_all()


@contextmanager
def serving(application: WSGIApplication) -> Iterator[str]:
    """Serve an application on a free port of this machine, and yield the base URL."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), _QuietHandler)
    server.daemon_threads = True
    server.set_app(application)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
