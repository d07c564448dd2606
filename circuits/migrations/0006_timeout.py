"""A timeout is five minutes at most. No database is asked: forms and settings check it."""

import django.core.validators
from django.db import migrations, models

import circuits.fields


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0005_console"),
    ]

    operations = [
        migrations.AlterField(
            model_name="circuit",
            name="timeout",
            field=models.FloatField(
                db_default=10.0,
                default=10.0,
                help_text="Seconds to wait for the remote, unless the call itself says otherwise.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0.001),
                    django.core.validators.MaxValueValidator(300),
                ],
                verbose_name="timeout",
            ),
        ),
    ]
