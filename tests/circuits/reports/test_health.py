"""The health page: who may read it, what it says, and whether beat runs."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from pytest_django import Settings

import circuits
from circuits.core.status import Mode, State
from circuits.models import Heartbeat
from circuits.storage.database import EXPIRY, DatabaseStore
from circuits.tasks import half_open_expired
from tests.concurrency import in_threads
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

TOKEN = "s3cret-t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGES = ["/circuits/health/", "/circuits/metrics/"]


@pytest.fixture
def _token(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "HEALTH_TOKEN": TOKEN, "PROMETHEUS": True}


@pytest.fixture
def _no_token(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "PROMETHEUS": True}


def log_in(client: Client, kind: str) -> None:
    """Log in a user of some kind; log in nobody for ``anonymous``."""
    if kind != "anonymous":
        user = get_user_model().objects.create(
            username=kind, is_staff="staff" in kind, is_active="inactive" not in kind
        )
        if "view" in kind:
            user.user_permissions.set(Permission.objects.filter(codename="view_circuit"))
        client.force_login(user)


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a test client of somebody who may view circuits."""
    log_in(client, "viewing staff")
    return client


def health(client: Client, **headers: str) -> Any:
    answer = client.get(PAGES[0], headers=headers)
    assert answer.status_code == 200
    return answer.json()


def fails(*args: Any) -> None:
    """Raise the error of a database that does not answer."""
    raise OperationalError(f"cannot connect with password {TOKEN}")


# Who may read -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("who", "authorization", "status"),
    [
        ("anonymous", None, 401),
        ("anonymous", f"Bearer {TOKEN}", 200),
        ("anonymous", f"bearer  {TOKEN}", 200),
        ("anonymous", f"Bearer {TOKEN}x", 401),
        ("anonymous", f"Bearer {TOKEN[:-1]}", 401),
        ("anonymous", f"Bearer {TOKEN} {TOKEN}", 401),
        ("anonymous", "Bearer clé", 401),
        ("anonymous", "Bearer ", 401),
        ("anonymous", f"Basic {TOKEN}", 401),
        ("anonymous", TOKEN, 401),
        ("user", None, 403),
        ("user", "Bearer wrong", 403),
        ("user", f"Bearer {TOKEN}", 200),
        ("staff", None, 200),
        ("staff", "Bearer wrong", 200),
        ("inactive staff", None, 401),
    ],
)
def test_access(
    client: Client, page: str, who: str, authorization: str | None, status: int
) -> None:
    CircuitFactory.create(name="payments", opened=True)
    log_in(client, who)
    answer = client.get(page, headers={"Authorization": authorization} if authorization else None)
    assert answer.status_code == status
    assert answer["Cache-Control"] == "no-store"
    assert (answer.get("WWW-Authenticate") == "Bearer") == (status == 401)
    assert (b"payments" in answer.content) == (status == 200)
    assert TOKEN.encode() not in answer.content
    if status != 200:
        assert list(answer.json()) == ["detail"]


@pytest.mark.usefixtures("_no_token")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", 'Bearer ""', "Bearer None"])
def test_where_no_token_is_set_none_is_right(client: Client, page: str, authorization: str) -> None:
    assert client.get(page, headers={"Authorization": authorization}).status_code == 401
    log_in(client, "staff")
    assert client.get(page).status_code == 200


@pytest.mark.usefixtures("_token")
def test_a_site_without_users_goes_by_the_token(client: Client, settings: Settings) -> None:
    settings.MIDDLEWARE = []
    assert client.get(PAGES[0]).status_code == 401
    assert client.get(PAGES[0], headers=BEARER).status_code == 200


def test_staff_whom_the_site_has_locked_out(client: Client, settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    log_in(client, "inactive staff")
    assert client.get(PAGES[0]).status_code == 403


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize("page", PAGES)
def test_it_is_only_read(client: Client, page: str) -> None:
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(client, method)(page, headers=BEARER)
        assert answer.status_code == 405
        assert answer["Cache-Control"] == "no-store"
    head = client.head(page, headers=BEARER)
    assert (head.status_code, head.content) == (200, b"")


# What it says -----------------------------------------------------------------------------------


def test_all_is_well(staff: Client) -> None:
    CircuitFactory.create(name="payments")
    CircuitFactory.create(name="watched", mode=Mode.OBSERVE)
    answer = health(staff)
    assert (answer["status"], answer["circuits"]) == ("ok", [])


@pytest.mark.parametrize(
    ("state", "mode", "listed", "status"),
    [
        (State.CLOSED, Mode.AUTOMATIC, False, "ok"),
        (State.OPEN, Mode.AUTOMATIC, True, "degraded"),
        (State.HALF_OPEN, Mode.AUTOMATIC, True, "degraded"),
        (State.CLOSED, Mode.FORCED_OPEN, True, "degraded"),
        (State.OPEN, Mode.FORCED_OPEN, True, "degraded"),
        (State.HALF_OPEN, Mode.FORCED_OPEN, True, "degraded"),
        # These let all calls pass.
        (State.CLOSED, Mode.FORCED_CLOSED, True, "ok"),
        (State.OPEN, Mode.FORCED_CLOSED, True, "ok"),
        (State.HALF_OPEN, Mode.FORCED_CLOSED, True, "ok"),
        (State.CLOSED, Mode.OBSERVE, False, "ok"),
        (State.OPEN, Mode.OBSERVE, True, "ok"),
        (State.HALF_OPEN, Mode.OBSERVE, True, "ok"),
    ],
)
def test_each_state_and_mode(
    staff: Client, state: State, mode: Mode, listed: bool, status: str
) -> None:
    CircuitFactory.create(name="payments", opened=True, state=state, mode=mode)
    CircuitFactory.create(name="rates")
    answer = health(staff)
    assert answer["status"] == status
    assert [(each["name"], each["state"], each["mode"]) for each in answer["circuits"]] == (
        [("payments", state, mode)] if listed else []
    )


def test_an_open_circuit(staff: Client) -> None:
    error = "HTTP 500 from http://pay.example"
    row = CircuitFactory.create(name="payments", opened=True, last_error=error)
    [entry] = health(staff)["circuits"]
    since = parse_datetime(entry.pop("since"))
    assert since is not None
    assert row.down_since is not None
    assert abs(since - row.down_since) < timedelta(milliseconds=1)
    assert 50 < entry.pop("retry_in") <= 60
    assert re.fullmatch(r"Down since .*\(0 seconds\), 0 refused", entry.pop("verdict"))
    assert entry == {
        "name": "payments",
        "state": "open",
        "failed_trials": 0,
        "refused": 0,
        "mode": "automatic",
        "mode_until": None,
        "last_error": error,
    }


def test_a_mode_that_ends_by_itself(staff: Client) -> None:
    until = timezone.now() + timedelta(minutes=30)
    CircuitFactory.create(name="payments", mode=Mode.FORCED_CLOSED, mode_until=until)
    [entry] = health(staff)["circuits"]
    told = parse_datetime(entry["mode_until"])
    assert told is not None
    assert abs(told - until) < timedelta(milliseconds=1)


def test_a_circuit_past_its_delay_may_be_tried_at_once(staff: Client) -> None:
    CircuitFactory.create(name="payments", expired=True)
    CircuitFactory.create(name="trying", opened=True, state=State.HALF_OPEN)
    by_name = {each["name"]: each["retry_in"] for each in health(staff)["circuits"]}
    assert by_name == {"payments": 0, "trying": None}


def test_time_is_the_databases(staff: Client) -> None:
    CircuitFactory.create(name="payments", opened=True)
    half_open_expired()
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        answer = health(staff)
    assert 50 < answer["circuits"][0]["retry_in"] <= 60
    assert answer["beat"]["seconds_ago"] < 10


def test_the_docs_show_what_it_says(staff: Client) -> None:
    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    CircuitFactory.create(name="payments", opened=True)
    shown, answer = json.loads(example), health(staff)
    assert list(shown) == list(answer)
    assert [list(each) for each in shown["circuits"]] == [list(answer["circuits"][0])]
    assert list(shown["beat"]) == list(answer["beat"])


@pytest.mark.usefixtures("_token")
def test_the_token_shows_no_errors(client: Client) -> None:
    CircuitFactory.create(name="payments", opened=True, last_error="the remote's words")
    [entry] = health(client, **BEARER)["circuits"]
    assert "last_error" not in entry
    assert "the remote's words" not in str(entry)


def test_no_secret_is_told(staff: Client, remote: str) -> None:
    address = remote.replace("http://", "http://user:s3cret@")
    for _ in range(5):
        with pytest.raises(circuits.RemoteCallFailedException):
            circuits.call("payments", f"{address}/faulty?key=s3cret#s3cret")
    [entry] = health(staff)["circuits"]
    assert entry["last_error"] == f"HTTP 500 from {remote}/faulty"
    assert "s3cret" not in str(entry)


@pytest.mark.parametrize("who", ["token", "staff"])
@pytest.mark.usefixtures("_token")
def test_however_many_circuits_it_is_three_queries(client: Client, who: str) -> None:
    CircuitFactory.create_batch(30, opened=True)
    if who == "staff":
        log_in(client, "viewing staff")
    with (
        CaptureQueriesContext(connections["circuits"]) as asked,
        CaptureQueriesContext(connections["default"]) as of_site,
    ):
        answer = client.get(PAGES[0], headers=BEARER if who == "token" else None)
    assert len(answer.json()["circuits"]) == 30
    assert len(asked) == 3
    # The queries for the session, its user, the user's permissions and those of its groups.
    assert len(of_site) == (0 if who == "token" else 4)


@pytest.mark.usefixtures("_token")
def test_of_many_those_that_are_down_first_are_listed_and_all_are_counted(client: Client) -> None:
    CircuitFactory.create_batch(150, mode=Mode.FORCED_CLOSED)
    CircuitFactory.create(name="zebra", opened=True)
    answer = health(client, **BEARER)
    assert (len(answer["circuits"]), answer["total"]) == (100, 151)
    assert answer["circuits"][0]["name"] == "zebra"


@pytest.mark.usefixtures("_token")
def test_one_that_is_not_listed_counts_for_the_status(client: Client) -> None:
    """A forced closed circuit is listed before a half open one, which refuses nearly all calls."""
    CircuitFactory.create_batch(150, mode=Mode.FORCED_CLOSED)
    assert health(client, **BEARER)["status"] == "ok"
    CircuitFactory.create(name="zebra", opened=True, state=State.HALF_OPEN)
    answer = health(client, **BEARER)
    assert "zebra" not in {each["name"] for each in answer["circuits"]}
    assert answer["status"] == "degraded"


@pytest.mark.usefixtures("_token")
def test_when_the_database_fails_one_sentence_says_so(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with connections["circuits"].execute_wrapper(fails):
        answer = client.get(PAGES[0], headers=BEARER)
        assert client.get(PAGES[0]).status_code == 401
    assert answer.status_code == 503
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == {"detail": "The circuits' database cannot be read."}
    assert TOKEN not in caplog.text


def test_when_no_session_can_be_read_too(staff: Client) -> None:
    with connections["default"].execute_wrapper(fails):
        assert staff.get(PAGES[0]).status_code == 503


# Whether beat lives -----------------------------------------------------------------------------


def make_older(seconds: float) -> None:
    Heartbeat.objects.update(at=F("at") - timedelta(seconds=seconds))


def test_a_beat_that_never_was(staff: Client) -> None:
    assert health(staff)["beat"] == {"status": "never", "seconds_ago": None}


def test_a_beat_just_now_and_long_ago(staff: Client) -> None:
    half_open_expired()
    beat = health(staff)["beat"]
    assert beat["status"] == "ok"
    assert 0 <= beat["seconds_ago"] < 5
    make_older(60)
    beat = health(staff)["beat"]
    assert beat["status"] == "late"
    assert 60 <= beat["seconds_ago"] < 65
    # Nothing depends on beat, so the status is fine without it.
    assert health(staff)["status"] == "ok"
    half_open_expired()
    assert health(staff)["beat"]["status"] == "ok"


def test_a_beat_is_never_in_the_future(staff: Client) -> None:
    half_open_expired()
    make_older(-60)
    assert health(staff)["beat"] == {"status": "ok", "seconds_ago": 0}


def test_a_pass_that_failed_is_no_beat() -> None:
    with (
        pytest.raises(OperationalError),
        connections["circuits"].execute_wrapper(fails),
    ):
        half_open_expired()
    assert DatabaseStore().last_beat(EXPIRY) is None


def test_beats_are_one_row_however_many_begin_at_once() -> None:
    store = DatabaseStore()
    in_threads(8, lambda _index: store.beat(EXPIRY))
    assert Heartbeat.objects.count() == 1
    with CaptureQueriesContext(connections["circuits"]) as asked:
        store.beat(EXPIRY)
    assert len([query for query in asked if query["sql"].startswith("UPDATE")]) == 1
    assert len(asked) == 2


def test_a_beat_by_local_time(settings: Settings) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    store = DatabaseStore()
    store.beat(EXPIRY)
    ago = store.last_beat(EXPIRY)
    assert ago is not None
    assert ago < 5


def check_beat(*arguments: str) -> tuple[int, str]:
    """Run the command, and return its exit status and its output."""
    out = StringIO()
    try:
        call_command("check_beat", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_monitoring_by_command() -> None:
    assert check_beat() == (1, "half_open_expired has never run.\n")
    half_open_expired()
    status, sentence = check_beat()
    assert status == 0
    assert sentence.startswith("half_open_expired ran ")
    make_older(60)
    assert check_beat()[0] == 1
    assert check_beat("--max-age", "600")[0] == 0


def test_the_command_refuses_what_it_cannot_do() -> None:
    with pytest.raises(CommandError, match="max-age") as refused:
        check_beat("--max-age", "0")
    assert refused.value.returncode == 2
    with (
        connections["circuits"].execute_wrapper(fails),
        pytest.raises(CommandError, match="database") as failed,
    ):
        check_beat()
    assert failed.value.returncode == 2


@pytest.mark.usefixtures("_token")
def test_what_is_down_is_linked_to_its_incident(client: Client, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SITE_URL": "https://site.example"}
    down = CircuitFactory.create(name="payments", opened=True)
    CircuitFactory(name="mail", mode=Mode.FORCED_CLOSED)
    entries = client.get("/circuits/health/", headers=BEARER).json()["circuits"]
    page = f"https://site.example/admin/circuits/circuit/{down.pk}/incident/1/"
    assert {each["name"]: each.get("url") for each in entries} == {"payments": page, "mail": None}
