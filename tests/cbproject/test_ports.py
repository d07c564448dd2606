import socket

import pytest

from cbproject import ports


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.free_port(port) > port


def test_the_first_port_is_taken_when_it_is_free() -> None:
    with socket.socket() as probe:
        probe.bind((ports.HOST, 0))
        port = probe.getsockname()[1]
    assert ports.free_port(port) == port


def test_two_who_ask_at_once_get_different_ports() -> None:
    given = {ports.any_port() for _ in range(20)}
    assert len(given) > 10
    assert min(given) > 1024


def test_no_free_port_is_said() -> None:
    with pytest.raises(OSError, match="No free port from 70000 on"):
        ports.free_port(70000)
