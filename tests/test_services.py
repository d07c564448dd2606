import socket

import pytest

from tests import services


def test_a_missing_service_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TEST_REDIS_URL", f"redis://127.0.0.1:{closed.getsockname()[1]}/0")
        with pytest.raises(SystemExit, match=r"^Redis cannot be reached at .*TEST_REDIS_URL"):
            services.require("Redis")


def test_a_service_that_listens_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("TEST_REDIS_URL", f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        services.require("Redis")
