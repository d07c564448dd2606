"""A site whose remote is down: visitors get a 503, and staff do not get a mail for each of them."""

from __future__ import annotations

import json

import pytest

from . import Project

VIEWS = """
    import circuits, ninja
    from django.http import HttpResponse
    from rest_framework.views import APIView

    def sync(request):
        with circuits.guard("payments"):
            return HttpResponse("made")

    async def asynchronous(request):
        async with circuits.guard("payments"):
            return HttpResponse("made")

    class Rest(APIView):
        def get(self, request):
            return sync(request)

    api = ninja.NinjaAPI()
    api.get("sync/")(sync)
    api.get("async/")(asynchronous)

    def failing(request):
        raise ValueError("a mistake of the site's own")
"""
URLS = """
    from django.urls import include, path
    from shop import views

    urlpatterns = [
        path("sync/", views.sync),
        path("async/", views.asynchronous),
        path("drf/", views.Rest.as_view()),
        path("ninja/", views.api.urls),
        path("failing/", views.failing),
        path("circuits/", include("circuits.urls")),
    ]
"""
SETTINGS = """
    import django

    INSTALLED_APPS += ["rest_framework"]
    DEBUG = False
    ALLOWED_HOSTS = ["*"]
    ADMINS = ["ops@example.org"] if django.VERSION >= (6,) else [("Ops", "ops@example.org")]
    _LOCMEM = "django.core.mail.backends.locmem.EmailBackend"
    MAILERS = {"default": {"BACKEND": _LOCMEM}}
    if django.VERSION < (6, 1):
        EMAIL_BACKEND = _LOCMEM
    CIRCUITS["SNAPSHOT_SECONDS"] = 0
    CIRCUITS["CIRCUITS"] = {"payments": {"threshold": 1}}
    CIRCUITS["HEALTH_TOKEN"] = "t"
"""
ASK = """
    import asyncio, json, logging
    from contextlib import suppress
    import circuits
    from circuits.process import runtime as breaker
    from circuits.models import Circuit
    from django.core import mail
    from django.db.models import F
    from django.test import AsyncClient, Client

    mail.outbox = []
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            if "503" in record.getMessage():
                lines.append([record.levelname, record.getMessage()])

    logging.getLogger("circuits").addHandler(Keep())

    def fail():
        with suppress(ValueError), circuits.guard("payments"):
            raise ValueError

    def ask(times, ways=("sync", "async", "drf", "ninja/sync", "ninja/async")):
        client = Client(raise_request_exception=False)
        statuses = {way: {client.get(f"/{way}/").status_code for _ in range(times)} for way in ways}

        async def ask_async():
            client = AsyncClient(raise_request_exception=False)
            for way in ways:
                statuses[way] |= {(await client.get(f"/{way}/")).status_code for _ in range(times)}

        asyncio.run(ask_async())
        return sorted(set().union(*statuses.values()))

    fail()
    def let_the_delay_pass():
        Circuit.objects.update(retry_at=F("opened_at"))
        breaker.forget()

    found = {"first": [ask(5), len(mail.outbox), list(lines)]}
    lines.clear()
    let_the_delay_pass()  # a trial fails: the same outage goes on
    fail()
    found["reopened"] = [ask(1), len(mail.outbox), list(lines)]
    let_the_delay_pass()
    with circuits.guard("payments"):
        pass
    found["closed"] = [ask(1), len(mail.outbox), list(lines)]
    fail()
    found["second"] = [ask(1), len(mail.outbox), len(lines)]
    found["own"] = [ask(1, ["failing"]), len(mail.outbox)]
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.make(
        tmp_path_factory.mktemp("site"),
        settings=SETTINGS,
        apps={"shop": {"views.py": VIEWS}},
        urls=URLS,
    ).migrated()


def test_a_refused_request_mails_nobody_and_is_logged_once_for_each_opening(
    project: Project,
) -> None:
    found = json.loads(project.run(ASK).stdout.splitlines()[-1])
    statuses, mails, lines = found["first"]
    assert (statuses, mails) == ([503], 0)
    ((level, line),) = lines
    assert level == "WARNING"
    assert line.startswith("Requests that need payments are answered with 503, and not logged")
    assert found["reopened"] == [[503], 0, []]
    assert found["closed"] == [[200], 0, []]
    assert found["second"] == [[503], 0, 1]
    assert found["own"] == [[500], 2], "what is the site's own is mailed as ever"


OUTAGE = """
    import json, logging
    from django.conf import settings
    from django.core import mail
    from django.db import connections
    from django.test import Client

    mail.outbox = []
    connections["circuits"].close()
    connections["circuits"].settings_dict["NAME"] = "/nowhere/circuits.sqlite3"
    headers = {"Authorization": "Bearer t"}
    answers = [Client().get("/circuits/health/", headers=headers).status_code for _ in range(5)]
    print(json.dumps([answers, len(mail.outbox)]))
"""


def test_a_health_page_without_its_database_mails_nobody_either(project: Project) -> None:
    done = project.run(OUTAGE)
    assert json.loads(done.stdout.splitlines()[-1]) == [[503] * 5, 0]
    assert done.stderr.count("The circuits' database cannot be read (OperationalError).") == 1
