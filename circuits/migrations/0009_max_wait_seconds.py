"""Calls over the limit of concurrent ones may wait for a place."""

import django.core.validators
from django.db import migrations, models

import circuits.fields


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0008_conviction"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="max_wait_seconds",
            field=models.FloatField(
                db_default=0.0,
                default=0.0,
                help_text="Seconds for which a call over that limit waits for a place; 0 to refuse it at once.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(60),
                ],
                verbose_name="longest wait",
            ),
        ),
        migrations.AlterField(
            model_name="circuit",
            name="lease_seconds",
            field=models.FloatField(
                db_default=30.0,
                default=30.0,
                help_text="Seconds after which the place of a trial is given up if its process has died.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0.1),
                    django.core.validators.MaxValueValidator(31536000),
                ],
                verbose_name="trial lease",
            ),
        ),
    ]
