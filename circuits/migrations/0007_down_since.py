"""When a circuit left closed, which a failed trial does not change, and what was refused before."""

from typing import Any

from django.db import migrations, models
from django.db.models import F


def begin_incidents(apps: Any, schema_editor: Any) -> None:
    """Let what is down be down since it last opened; the calls refused are counted from now on."""
    circuits = apps.get_model("circuits", "Circuit").objects.using(schema_editor.connection.alias)
    down = circuits.exclude(state="closed")
    down.update(down_since=F("opened_at"), refusals_before=F("total_refusals"))


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0006_timeout"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="down_since",
            field=models.DateTimeField(
                blank=True,
                help_text="When it last left closed; a failed trial does not change it.",
                null=True,
                verbose_name="down since",
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="refusals_before",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                verbose_name="refusals before it went down",
            ),
        ),
        migrations.RunPython(begin_incidents, migrations.RunPython.noop, elidable=True),
    ]
