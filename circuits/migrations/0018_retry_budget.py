"""The retries of a circuit's calls have a budget, which all processes share."""

import django.core.validators
from django.db import migrations, models

import circuits.fields


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0017_throttle"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="retry_share",
            field=models.FloatField(
                db_default=0.2,
                default=0.2,
                help_text="Share of the recent calls that may be retried.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(1),
                ],
                verbose_name="retry share",
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="retry_window",
            field=models.JSONField(
                blank=True, editable=False, null=True, verbose_name="recent retries"
            ),
        ),
    ]
