"""A project whose tasks keep their results: our exceptions are read back unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import Project

CELERY = """
    from celery import Celery

    app = Celery("mysite")
    app.config_from_object("django.conf:settings", namespace="CELERY")
"""
SETTINGS = """
    CELERY_RESULT_BACKEND = f"file://{BASE_DIR}/results"
    CELERY_RESULT_SERIALIZER = %r
    CELERY_ACCEPT_CONTENT = ["json", "pickle"]
    (BASE_DIR / "results").mkdir(exist_ok=True)
"""

#: Tasks that raise exceptions of libraries, whose request and response JSON cannot hold.
FAIL = """
    import circuits, httpx, requests
    from circuits.calls.adapters import CircuitBusyConnectionError, CircuitOpenConnectionError
    from circuits.exceptions import TooManyCircuitsError
    from circuits.calls.transports import CircuitBusyConnectError, CircuitOpenConnectError
    from mysite.celery import app

    request = requests.Request("GET", "http://payments.example/").prepare()
    asked = httpx.Request("GET", "http://payments.example/")
    response = requests.Response()
    response.status_code = 500
    circuits.get("payments").force_open()
    try:
        with circuits.guard("payments"):
            pass
    except circuits.CircuitOpenError as refusal:
        refused = refusal
    for number, error in enumerate([
        refused,
        circuits.CircuitBusyError("payments", 8.69),
        CircuitOpenConnectionError("payments", 8.69, request),
        CircuitBusyConnectionError("payments", 8.69, request),
        CircuitOpenConnectError("payments", 8.69, asked),
        CircuitBusyConnectError("payments", 8.69, asked),
        circuits.RemoteCallFailedException("It is down.", "payments", response),
        circuits.InvalidInputError("%(name)s is 100%% wrong.", name="delay"),
        circuits.UnknownCircuitError("paymnts", ["payments"]),
        TooManyCircuitsError("payments", 3),
    ]):
        app.backend.store_result(str(number), error, "FAILURE")
"""
READ = """
    import json, sys
    import circuits
    from celery.result import AsyncResult
    from mysite.celery import app

    for module in ("calls.adapters", "calls.transports", "integrations.drf"):
        assert f"circuits.{module}" not in sys.modules
    found = []
    for number in range(10):
        try:
            AsyncResult(str(number), app=app).get(timeout=10)
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            response = getattr(error, "response", None)
            found.append([kinds, str(error), getattr(response, "status_code", None)])
    print(json.dumps(found))
"""


@pytest.mark.parametrize("serializer", ["json", "pickle"])
@pytest.mark.parametrize("framework", [False, True], ids=["plain", "drf"])
def test_an_exception_is_read_back_as_itself_where_its_library_is_not_loaded(
    tmp_path: Path, serializer: str, framework: bool
) -> None:
    project = Project.make(
        tmp_path,
        settings=(SETTINGS % serializer)
        + "    CIRCUITS['CIRCUITS'] = {'payments': {}}\n"
        + ("    INSTALLED_APPS += ['rest_framework']\n" if framework else ""),
    ).migrated()
    project.write("mysite/celery.py", CELERY)
    project.run(FAIL)
    reader = READ.replace(', "integrations.drf"', "") if framework else READ
    found = json.loads(project.run(reader).stdout.splitlines()[-1])
    assert len(found) == 10
    names = [kinds[0] for kinds, _said, _status in found]
    assert names == [
        "CircuitOpenAPIError" if framework else "CircuitOpenError",
        "CircuitBusyError",
        "CircuitOpenConnectionError",
        "CircuitBusyConnectionError",
        "CircuitOpenConnectError",
        "CircuitBusyConnectError",
        "RemoteCallFailedException",
        "InvalidInputError",
        "UnknownCircuitError",
        "TooManyCircuitsError",
    ]
    assert all("CircuitOpenError" in kinds for kinds, *_ in found[:6])
    assert all("ConnectionError" in kinds for kinds, *_ in found[2:4])
    assert all("ConnectError" in kinds for kinds, *_ in found[4:6])
    busy = "Too many calls to payments at once. Retry after 8.69 secs"
    assert [said for _kinds, said, _status in found] == [
        "Retry after 10.00 secs",
        busy,
        "Retry after 8.69 secs",
        busy,
        "Retry after 8.69 secs",
        busy,
        "It is down.",
        "delay is 100% wrong.",
        "There is no circuit named paymnts. Did you mean payments?",
        "The circuit 'payments' was not made: there are 3 already. "
        "Use fewer names, or raise CIRCUITS['MAX_CIRCUITS'].",
    ]
    # JSON cannot hold a response, and no response is better than a text in its place.
    assert found[6][2] == (500 if serializer == "pickle" else None)


def test_where_the_library_is_not_installed_it_is_read_back_as_a_refusal(tmp_path: Path) -> None:
    project = Project.make(
        tmp_path, settings=(SETTINGS % "json") + "    CIRCUITS['CIRCUITS'] = {'payments': {}}\n"
    ).migrated()
    project.write("mysite/celery.py", CELERY)
    project.run(FAIL)
    # The import fails as if the package were not installed.
    project.write("httpx.py", "raise ModuleNotFoundError('httpx')")
    found = json.loads(project.run(READ).stdout.splitlines()[-1])
    assert [kinds[0] for kinds, *_ in found[4:6]] == ["CircuitOpenError", "CircuitBusyError"]
    assert found[4][1] == "Retry after 8.69 secs"


RUN = """
    import os
    from celery.contrib.testing.worker import start_worker
    from circuits import tasks
    from mysite.celery import app

    @app.task
    def kept():
        return "kept"

    with start_worker(app, pool="solo", perform_ping_check=False):
        for task in (tasks.half_open_expired, tasks.notify, tasks.prune):
            task.delay()
        # Behind them in the queue: once it has run, so have they.
        assert kept.delay().get(timeout=30) == "kept"
    print(len(os.listdir("results")))
"""


def test_the_tasks_of_beat_leave_no_results_behind(tmp_path: Path) -> None:
    broker = "    CELERY_BROKER_URL = 'memory://'\n"
    project = Project.make(tmp_path, settings=(SETTINGS % "json") + broker).migrated()
    project.write("mysite/celery.py", CELERY)
    assert project.run(RUN).stdout.split() == ["1"]
    assert "half_open_expired ran" in project.manage("check_beat", "--max-age", "600").stdout
