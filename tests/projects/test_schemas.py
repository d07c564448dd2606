"""PostgreSQL's schemas: circuits in a schema of their own, and beside those of django-tenants."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from . import Project
from .databases import KINDS, Databases

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(KINDS != ("postgres",), reason="only PostgreSQL has schemas"),
]

TABLES: Final = """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute('''
            SELECT schemaname || '.' || tablename FROM pg_tables
            WHERE tablename IN ('auth_user', 'circuits_circuit', 'shop_order') ORDER BY 1
        ''')
        print(*(name for (name,) in cursor.fetchall()))
"""

OWN_SCHEMA: Final = """
DATABASES["circuits"]["OPTIONS"] = {"options": "-c search_path=breakers"}
"""
MAKE_SCHEMA: Final = """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA breakers")
"""

BOTH: Final = ("--database", "default", "--database", "circuits")


def test_a_schema_of_their_own_holds_the_circuits_and_nothing_else(
    tmp_path: Path, project_databases: Databases
) -> None:
    project = Project.make(tmp_path, settings=OWN_SCHEMA, databases=project_databases)
    missing = project.manage("check", *BOTH).stderr
    assert "circuits.W006" in missing
    assert "search_path of the database 'circuits' (breakers)" in missing
    project.run(MAKE_SCHEMA)
    for alias in ("default", "circuits"):
        project.manage("migrate", "--database", alias)
    assert project.run(TABLES).stdout.split() == ["breakers.circuits_circuit", "public.auth_user"]
    assert "no issues" in project.manage("check", *BOTH).stdout
    project.manage("circuits", "create", "payments")
    assert "payments" in project.manage("circuits", "list").stdout


TENANTS: Final = """
DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
DATABASES["circuits"]["ENGINE"] = "django_tenants.postgresql_backend"
DATABASE_ROUTERS.append("django_tenants.routers.TenantSyncRouter")
TENANT_APPS = ["shop"]
SHARED_APPS = ["django_tenants"] + [app for app in INSTALLED_APPS if app not in TENANT_APPS]
INSTALLED_APPS = SHARED_APPS + TENANT_APPS
MIDDLEWARE.insert(0, "django_tenants.middleware.main.TenantMainMiddleware")
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Customer", "customers.Domain"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
CUSTOMERS: Final = """
    from django.db import models
    from django_tenants.models import DomainMixin, TenantMixin

    class Customer(TenantMixin):
        auto_create_schema = True

    class Domain(DomainMixin):
        pass
"""
SHOP: Final = """
    from django.db import models

    class Order(models.Model):
        pass
"""


#: With these options the settings do not show which database it is, so the server is asked.
OTHER_OPTIONS: Final = """
DATABASES["circuits"]["OPTIONS"] = {"options": "-c statement_timeout=5000"}
"""
THEIRS_FIRST: Final = """
DATABASE_ROUTERS.reverse()
"""


@pytest.mark.parametrize(
    "settings",
    ["", OTHER_OPTIONS + THEIRS_FIRST],
    ids=["our router first", "their router first, and other options"],
)
def test_tenants_share_the_circuits(
    tmp_path: Path, project_databases: Databases, settings: str
) -> None:
    project = Project.make(
        tmp_path,
        settings=TENANTS + settings,
        apps={"customers": {"models.py": CUSTOMERS}, "shop": {"models.py": SHOP}},
        databases=project_databases,
    )
    project.manage("makemigrations", "customers", "shop")
    project.manage("migrate_schemas", "--shared")
    project.run("""
        from customers.models import Customer

        Customer.objects.create(schema_name="one")
    """)
    project.manage("migrate_schemas")
    assert project.run(TABLES).stdout.split() == [
        "one.shop_order",
        "public.auth_user",
        "public.circuits_circuit",
    ]
    called = project.run("""
        import circuits
        from circuits.models import Circuit
        from django_tenants.utils import schema_context

        with schema_context("one"):
            with circuits.guard("payments"):
                pass
            circuits.flush()
            print(Circuit.objects.get().total_successes)
    """)
    assert (called.stdout.split(), called.stderr) == (["1"], "")
    assert "no issues" in project.manage("check", *BOTH).stdout
