"""A site whose queries django-cachalot caches: those that depend on the time are not cached."""

from __future__ import annotations

from pathlib import Path

from . import Project

CACHED = """
INSTALLED_APPS += ["cachalot"]
"""


def test_the_databases_clock_is_never_answered_from_a_cache(tmp_path: Path) -> None:
    project = Project.make(tmp_path, settings=CACHED).migrated()
    done = project.run("""
        from time import sleep

        from django.test import RequestFactory
        from django.contrib import admin
        from django.contrib.auth.models import User

        import circuits
        from circuits.reports.health import beat
        from circuits.models import Circuit
        from circuits.reports.readings import read_circuits
        from circuits.tasks import half_open_expired

        request = RequestFactory().get("/")
        request.user = User(is_superuser=True)

        def times():
            (reading,) = read_circuits()
            shown = admin.site._registry[Circuit].get_queryset(request).get()
            return beat()["seconds_ago"], reading.time_in_state, shown.db_now / 1_000_000

        with circuits.guard("payments"):
            pass
        circuits.get("payments").force_open()
        half_open_expired()
        assert len(Circuit.objects.all()) == 1  # the cache has it now
        before = times()
        sleep(0.1)
        print(*(later - earlier > 0.09 for earlier, later in zip(before, times())))

        modes = Circuit.objects.values_list("mode", flat=True)
        assert list(modes.all()) == ["forced_open"]
        circuits.get("payments").automatic()
        assert list(modes.all()) == ["automatic"]  # what is kept is forgotten
    """)
    assert done.stdout.split() == ["True"] * 3
    caches = """
        from django.db import connections
        from django.test.utils import CaptureQueriesContext
        from circuits.models import Circuit

        with CaptureQueriesContext(connections["circuits"]) as asked:
            for _ in range(2):
                list(Circuit.objects.values_list("name"))
        print(len(asked))
    """
    assert project.run(caches).stdout.split() == ["1"]  # otherwise this test would prove nothing
