from importlib.metadata import version
from pathlib import Path

import pytest
from kombu import Connection

from cbproject.broker import Transport, transport_options


def test_a_server_needs_no_options(tmp_path: Path) -> None:
    assert transport_options("redis://127.0.0.1", tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_folders_are_made(tmp_path: Path) -> None:
    options = transport_options("filesystem://", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"messages", "control"}
    assert options["data_folder_in"] == options["data_folder_out"]


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    options = transport_options("filesystem://", tmp_path)
    return Connection(transport=Transport, transport_options=options)


def test_messages_come_out_in_the_order_they_went_in(connection: Connection) -> None:
    with connection, connection.SimpleQueue("jobs") as queue:
        for number in range(3):
            queue.put({"number": number})
        answers = [queue.get(timeout=2) for _ in range(3)]
        for answer in answers:
            answer.ack()
    assert [answer.payload["number"] for answer in answers] == [0, 1, 2]


@pytest.mark.skipif(version("kombu") < "5.6", reason="it is for the pins")
def test_a_message_in_the_making_is_not_read(connection: Connection, tmp_path: Path) -> None:
    with connection, connection.SimpleQueue("jobs") as queue:
        (tmp_path / "messages" / "0_x.jobs.msg.part").touch()
        with pytest.raises(queue.Empty):
            queue.get(block=False)
