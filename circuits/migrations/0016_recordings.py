"""The calls of a circuit can be recorded for a while, to be replayed with other policies."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0015_families"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="recorded_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Until then each process records its calls, to replay them later.",
                null=True,
                verbose_name="calls recorded until",
            ),
        ),
        migrations.CreateModel(
            name="Recording",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("since", models.DateTimeField(verbose_name="since")),
                ("until", models.DateTimeField(db_index=True, verbose_name="until")),
                ("size", models.IntegerField(default=0, verbose_name="size in bytes")),
                (
                    "circuit",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="recording",
                        to="circuits.circuit",
                        verbose_name="circuit",
                    ),
                ),
            ],
            options={
                "verbose_name": "recording",
                "verbose_name_plural": "recordings",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="RecordedCalls",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "at",
                    models.BigIntegerField(
                        help_text="In milliseconds since 1970, by the database's clock.",
                        verbose_name="at",
                    ),
                ),
                ("number", models.IntegerField(verbose_name="number of calls")),
                ("calls", models.BinaryField(verbose_name="calls")),
                (
                    "recording",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="batches",
                        to="circuits.recording",
                        verbose_name="recording",
                    ),
                ),
            ],
            options={
                "verbose_name": "recorded calls",
                "verbose_name_plural": "recorded calls",
                "default_permissions": (),
            },
        ),
    ]
