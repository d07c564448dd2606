"""The family of a circuit: the part of its name before a slash."""

from typing import Any

from django.db import migrations

import circuits.fields
from circuits.core.families import family_of


def set_families(apps: Any, schema_editor: Any) -> None:
    """Fill in the families of the circuits that there are."""
    rows = apps.get_model("circuits", "Circuit").objects.using(schema_editor.connection.alias)
    names = rows.filter(name__contains="/").values_list("pk", "name")
    for key, name in list(names):
        rows.filter(pk=key).update(family=family_of(name))


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0014_incidents"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="family",
            field=circuits.fields.FamilyField(
                blank=True,
                db_default="",
                db_index=True,
                default="",
                editable=False,
                max_length=100,
                verbose_name="family",
            ),
        ),
        migrations.RunPython(set_families, migrations.RunPython.noop),
    ]
