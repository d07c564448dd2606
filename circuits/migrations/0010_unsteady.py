"""When a closed circuit last refused a call, and its place in the list by that.

A computed column cannot be altered, so it is made anew, with its index.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0009_max_wait_seconds"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="refused_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When a call was last refused; empty once that is an hour ago.",
                null=True,
                verbose_name="last refusal",
            ),
        ),
        migrations.RemoveIndex(model_name="circuit", name="circuits_urgency"),
        migrations.RemoveField(model_name="circuit", name="urgency"),
        migrations.AddField(
            model_name="circuit",
            name="urgency",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Case(
                    models.When(
                        models.Q(("mode", "observe"), models.Q(("state", "closed"), _negated=True)),
                        then=models.Value(4),
                    ),
                    models.When(mode="observe", then=models.Value(5)),
                    models.When(state="open", then=models.Value(0)),
                    models.When(mode="forced_closed", then=models.Value(1)),
                    models.When(state="half_open", then=models.Value(2)),
                    models.When(refused_at__isnull=False, then=models.Value(3)),
                    default=models.Value(5),
                ),
                output_field=models.PositiveSmallIntegerField(),
                verbose_name="urgency",
            ),
        ),
        migrations.AddIndex(
            model_name="circuit",
            index=models.Index(
                fields=["urgency", "name", "state", "mode"], name="circuits_urgency"
            ),
        ),
        migrations.AlterField(
            model_name="transition",
            name="until",
            field=models.DateTimeField(
                blank=True,
                help_text="When the mode it led to ends by itself; empty for never.",
                null=True,
                verbose_name="mode ends",
            ),
        ),
    ]
