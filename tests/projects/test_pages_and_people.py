"""Sites with users, admins and settings of their own: no page of ours answers 500."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import Project

#: Makes a circuit that has been open and half open, and has everything that a page can show.
LIVED = """
    import json
    from contextlib import suppress
    import circuits
    from circuits.process import runtime as breaker
    from circuits.models import Circuit, Transition
    from django.db.models import F
    from django.test import Client

    def fail():
        with suppress(ValueError), circuits.guard("payments"):
            raise ValueError("gone")

    for _ in range(5):
        fail()
    Circuit.objects.update(retry_at=F("opened_at"))
    breaker.forget()
    fail()
    circuits.get("payments").force_closed(actor="ann", reason="because", seconds=3600)
    circuits.get("payments").force_open(actor="ann", reason="because", seconds=3600)
    circuits.flush()
    circuit, last = Circuit.objects.get(), Transition.objects.first()
"""

HEALTH = """
    from django.urls import include, path

    urlpatterns = [path("circuits/", include("circuits.urls"))]
"""


def answered(project: Project, code: str) -> Any:
    """Run code in a project, and return its last line of output, read as JSON."""
    return json.loads(project.run(code).stdout.splitlines()[-1])


# Logging in


def test_a_site_where_everybody_must_log_in_lets_the_tokens_bearer_by(tmp_path: Path) -> None:
    project = Project.make(
        tmp_path,
        settings="""
            MIDDLEWARE.append("django.contrib.auth.middleware.LoginRequiredMiddleware")
            ALLOWED_HOSTS = ["*"]
            CIRCUITS |= {"HEALTH_TOKEN": "right", "PROMETHEUS": True}
        """,
        urls=HEALTH,
    ).migrated()
    found = answered(
        project,
        """
        import json
        from django.test import Client

        print(json.dumps({
            f"{page} {token}": Client().get(
                f"/circuits/{page}/", headers={"Authorization": f"Bearer {token}"}
            ).status_code
            for page in ("health", "metrics")
            for token in ("right", "wrong")
        }))
        """,
    )
    assert found == {
        "health right": 200,
        "health wrong": 401,
        "metrics right": 200,
        "metrics wrong": 401,
    }


# Users


def test_a_user_without_the_usual_attributes_and_a_request_without_a_user(tmp_path: Path) -> None:
    """The user model has the least that Django accepts: no staff, no permissions, no name."""
    project = Project.make(
        tmp_path,
        settings="""
            AUTH_USER_MODEL = "people.Person"
            INSTALLED_APPS.remove("django.contrib.admin")
            ALLOWED_HOSTS = ["*"]
            CIRCUITS |= {"HEALTH_TOKEN": "right", "PROMETHEUS": True}
            SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
        """,
        urls=HEALTH,
        apps={
            "people": {
                "models.py": """
                    from django.contrib.auth.models import BaseUserManager
                    from django.db import models

                    class Person(models.Model):
                        email = models.EmailField(unique=True)
                        USERNAME_FIELD = "email"
                        REQUIRED_FIELDS = []
                        is_authenticated = True
                        is_anonymous = False
                        last_login = None
                        objects = BaseUserManager()
                """,
                "migrations/__init__.py": "",
            }
        },
    )
    project.manage("makemigrations", "people")
    found = answered(
        project.migrated(),
        """
        import json
        from circuits import views as monitoring
        from django.test import RequestFactory
        from people.models import Person

        person = Person.objects.create(email="ann@example.org")
        found = {}
        for page in (monitoring.health, monitoring.metrics):
            for token in ("right", "wrong"):
                for user in (person, None):
                    headers = {"Authorization": f"Bearer {token}"}
                    request = RequestFactory().get("/", headers=headers)
                    if user:
                        request.user = user
                    case = f"{page.__name__} {token} {user and 'somebody'}"
                    found[case] = page(request).status_code
        print(json.dumps(found))
        """,
    )
    assert found == {
        f"{page} {token} {user}": 200 if token == "right" else denied
        for page in ("health", "metrics")
        for token in ("right", "wrong")
        for user, denied in (("somebody", 403), ("None", 401))
    }


# The admin

SITES = """
    from circuits.admin import CircuitAdmin, TransitionAdmin
    from circuits.models import Circuit, Heartbeat, Minute, Transition
    from django.contrib import admin

    def site(name, *registered):
        made = admin.AdminSite(name)
        for model, kind in registered:
            made.register(model, kind)
        return made

    only_circuits = site("only_circuits", (Circuit, CircuitAdmin))
    only_changes = site("only_changes", (Transition, TransitionAdmin))
    # Where Django's own class stands in for ours; it finds our templates by the model's name.
    plain = site("plain", *((model, None) for model in (Circuit, Transition, Minute, Heartbeat)))
    plain_changes = site("plain_changes", (Circuit, CircuitAdmin), (Transition, None))
    plain_circuits = site("plain_circuits", (Circuit, None), (Transition, TransitionAdmin))
    SITES = (only_circuits, only_changes, plain, plain_changes, plain_circuits)
"""
SITE_URLS = """
    from django.contrib import admin
    from django.urls import path
    from shop.sites import SITES

    urlpatterns = [path(f"{site.name}/", site.urls) for site in SITES]
"""
#: Requests every page that an admin site has on one circuit, one change and the lists of both.
LOOK = """
    from django.contrib.auth import get_user_model
    from django.urls import get_resolver

    client = Client(raise_request_exception=False)
    client.force_login(get_user_model().objects.create_superuser("ann", "", "ann"))

    def looked_at(site):
        pages = ["", "circuits/"]
        for model in site._registry:
            if model._meta.app_label != "circuits":
                continue
            name = model._meta.model_name
            key = {"circuit": circuit.pk, "transition": last.pk}.get(name)
            base = f"circuits/{name}/"
            pages += [base, f"{base}add/"]
            pages += [f"{base}{key}/{page}" for page in ("change/", "history/", "delete/") if key]
            ours = type(site._registry[model]).__module__ != "django.contrib.admin.options"
            if ours and name == "circuit":
                pages += [f"{base}{key}/incident/1/", f"{base}{key}/live/", f"{base}live/"]
                pages += [f"{base}{key}/operate/reset/", f"{base}{key}/incident/99/"]
            if ours and name == "transition":
                pages += [f"{base}export/", f"{base}?q=pay"]
        return pages

    def statuses(sites):
        return {
            f"/{site.name}/{page}": client.get(f"/{site.name}/{page}").status_code
            for site in sites
            for page in looked_at(site)
        }
"""
#: URLs without a page: nobody adds to the history by hand, and the incident does not exist.
NOT_THERE = ("transition/add/", "opening/add/", "/incident/99/")


def unexpected(statuses: dict[str, int]) -> dict[str, int]:
    """Return the pages that answered otherwise than they should."""
    return {
        page: status
        for page, status in statuses.items()
        if status != 200 and not (status in (403, 404) and _may_be_missing(page))
    }


def _may_be_missing(page: str) -> bool:
    return page.endswith(NOT_THERE) or ("transition/" in page and page.endswith("delete/"))


def test_a_site_of_the_admin_may_register_some_of_the_models(tmp_path: Path) -> None:
    project = Project.make(
        tmp_path,
        settings='ALLOWED_HOSTS = ["*"]',
        apps={"shop": {"sites.py": SITES}},
        urls=SITE_URLS,
    ).migrated()
    look = "    from shop.sites import SITES\n    print(json.dumps(statuses(SITES)))"
    found = answered(project, LIVED + LOOK + look)
    assert len(found) > 30
    assert not unexpected(found)


def test_an_app_that_keeps_histories_of_ours_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """django-simple-history puts a manager named ``history`` on each model that is registered."""
    project = Project.make(
        tmp_path,
        settings="""
            ALLOWED_HOSTS = ["*"]
            INSTALLED_APPS += ["simple_history"]
            MIDDLEWARE.append("simple_history.middleware.HistoryRequestMiddleware")
        """,
        apps={
            "shop": {
                "models.py": """
                    from circuits.models import Circuit, Transition
                    from simple_history import register

                    register(Circuit, app="shop")
                    register(Transition, app="shop")
                """,
                "sites.py": """
                    from circuits.admin import CircuitAdmin, TransitionAdmin
                    from circuits.models import Circuit, Transition
                    from django.contrib import admin
                    from simple_history.admin import SimpleHistoryAdmin

                    class OurCircuitAdmin(SimpleHistoryAdmin, CircuitAdmin):
                        pass

                    mixed = admin.AdminSite("mixed")
                    mixed.register(Circuit, OurCircuitAdmin)
                    mixed.register(Transition, TransitionAdmin)
                    SITES = [mixed]
                """,
                "migrations/__init__.py": "",
            }
        },
        urls=SITE_URLS,
    )
    project.manage("makemigrations", "shop")
    project.migrated()
    found = answered(
        project,
        LIVED
        + LOOK
        + """
    from circuits.console.policy_form import SHARES
    from circuits.models import POLICY_FIELDS
    from shop.sites import SITES

    policy = {name: getattr(circuit, name) for name in POLICY_FIELDS}
    policy |= {name: 100 * policy[name] for name in SHARES}
    client.post(f"/mixed/circuits/circuit/{circuit.pk}/change/", policy | {"threshold": 7})
    kept = Circuit.history.order_by("history_id").last().threshold
    print(json.dumps([statuses(SITES), kept]))
    """,
    )
    assert not unexpected(found[0])
    assert found[1] == 7, "what people set is in that history too"
    shown = project.manage("circuits", "show", "payments", "--json").stdout
    assert [each["generation"] for each in json.loads(shown)["transitions"]] == [5, 4, 3, 2, 1]


# Time


def test_a_site_without_time_zones_shows_and_exports_all_there_is(tmp_path: Path) -> None:
    project = Project.make(
        tmp_path,
        settings="""
            import django

            USE_TZ = False
            TIME_ZONE = "Asia/Kolkata"
            ALLOWED_HOSTS = ["*"]
            CIRCUITS |= {
                "HEALTH_TOKEN": "right",
                "NOTIFY": {"EMAILS": ["ops@example.org"], "QUIET_SECONDS": 0},
            }
            _LOCMEM = "django.core.mail.backends.locmem.EmailBackend"
            MAILERS = {"default": {"BACKEND": _LOCMEM}}
            if django.VERSION < (6, 1):
                EMAIL_BACKEND = _LOCMEM
        """,
        urls="""
            from django.contrib import admin
            from django.urls import include, path

            urlpatterns = [
                path("admin/", admin.site.urls),
                path("circuits/", include("circuits.urls")),
            ]
        """,
    ).migrated()
    found = answered(
        project,
        LIVED
        + LOOK
        + """
    from circuits import tasks
    from django.contrib import admin
    from django.core import mail

    mail.outbox = []
    for task in (tasks.half_open_expired, tasks.notify, tasks.prune):
        task()
    csv = client.get("/admin/circuits/transition/export/").getvalue().decode()
    health = Client().get("/circuits/health/", headers={"Authorization": "Bearer right"}).json()
    print(json.dumps({
        "statuses": statuses([admin.site]),
        "csv": csv.splitlines()[1].split(",")[0],
        "since": health["circuits"][0]["since"],
        "until": health["circuits"][0]["mode_until"],
        "mail": [message.body for message in mail.outbox],
    }))
    """,
    )
    assert not unexpected(found["statuses"])
    assert all(found[key].endswith("+05:30") for key in ("csv", "since", "until"))
    assert any(" IST  open" in body for body in found["mail"])
    for command in (
        ("circuits", "list"),
        ("circuits", "list", "--json"),
        ("circuits", "show", "payments"),
        ("circuits", "watch", "--count", "1"),
        ("check_beat", "--max-age", "3600"),
    ):
        project.manage(*command)
    shown = json.loads(project.manage("circuits", "show", "payments", "--json").stdout)
    assert shown["created_at"].endswith("+05:30")
    assert shown["transitions"][0]["at"].endswith("+05:30")
