"""A project with Django REST framework: the client gets a 503 for every refusal in its views."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import Project

VIEWS = """
    import circuits, httpx, requests
    from asgiref.sync import async_to_sync
    from rest_framework.decorators import api_view
    from rest_framework.response import Response
    from rest_framework.views import APIView

    URL = "http://127.0.0.1:9/"

    def session():
        made = requests.Session()
        made.mount("http://", circuits.CircuitAdapter("payments"))
        return made

    def by_guard():
        with circuits.guard("payments"):
            pass

    async def by_async_guard():
        async with circuits.guard("payments"):
            pass

    async def by_async_transport():
        transport = circuits.AsyncCircuitTransport(name="payments")
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(URL)

    def by_transport():
        with httpx.Client(transport=circuits.CircuitTransport(name="payments")) as client:
            client.get(URL)

    @circuits.protect("payments")
    async def by_async_protect():
        pass

    WAYS = {
        "guard": by_guard,
        "protect": circuits.protect("payments")(by_guard),
        "call": lambda: circuits.call("payments", URL),
        "breaker": circuits.CircuitBreaker(print, name="payments").make_remote_call,
        "adapter": lambda: session().get(URL),
        "transport": by_transport,
        "async guard": async_to_sync(by_async_guard),
        "async protect": async_to_sync(by_async_protect),
        "acall": lambda: async_to_sync(circuits.acall)("payments", URL),
        "async transport": async_to_sync(by_async_transport),
    }

    class ByClass(APIView):
        def get(self, request, way):
            return Response(str(WAYS[way]()))

    @api_view(["GET"])
    def by_function(request, way):
        return Response(str(WAYS[way]()))
"""
URLS = """
    from django.urls import path
    from shop import views

    urlpatterns = [
        path("class/<way>/", views.ByClass.as_view()),
        path("function/<way>/", views.by_function),
    ]
"""
ASK = """
    import json, time
    from contextvars import Context
    import circuits
    from circuits.models import Circuit
    from circuits.storage.database import DatabaseStore
    from circuits.moments import to_datetime
    from django.test import Client
    from shop.views import WAYS

    if {busy}:
        Circuit.objects.create(name="payments", max_concurrent=1)
        Context().run(circuits.guard("payments").__enter__)  # a call of somebody else
    else:
        now = DatabaseStore().now()
        Circuit.objects.create(
            name="payments", state="open", generation=1, opened_at=to_datetime(now),
            retry_at=to_datetime(now + {delay}),
        )
    answers = {{}}
    client = Client(raise_request_exception=False)
    for view in ("class", "function"):
        for way in WAYS:
            answer = client.get(f"/{{view}}/{{way}}/")
            said = answer.status_code, answer.get("Retry-After"), answer.text
            answers[f"{{view}} {{way}}"] = said
    print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a site with the framework and without our middleware, so that only the first answers."""
    return Project.make(
        tmp_path_factory.mktemp("drf"),
        settings="""
            INSTALLED_APPS += ["rest_framework"]
            MIDDLEWARE.remove("circuits.middleware.CircuitOpenMiddleware")
            ALLOWED_HOSTS = ["testserver"]
            REST_FRAMEWORK = {"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]}
        """,
        apps={"shop": {"views.py": VIEWS}},
        urls=URLS,
    ).migrated()


@pytest.mark.parametrize("busy", [False, True], ids=["open", "busy"])
def test_whatever_refuses_in_a_view_the_client_gets_503_and_when_to_retry(
    project: Project, busy: bool
) -> None:
    project.run("from circuits.models import Circuit; Circuit.objects.all().delete()")
    answers: dict[str, Any] = json.loads(
        project.run(ASK.format(busy=busy, delay=3600.4)).stdout.splitlines()[-1]
    )
    assert len(answers) == 20
    sentence = {"detail": "This service is not available for the moment."}
    for way, (status, retry_after, body) in answers.items():
        assert (status, json.loads(body)) == (503, sentence), way
        assert int(retry_after) == 1 if busy else 3580 < int(retry_after) <= 3601, way
