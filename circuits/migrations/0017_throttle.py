"""A circuit may stay closed and throttle, with a largest share of calls that it refuses."""

import django.core.validators
from django.db import migrations, models

import circuits.fields


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0016_recordings"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="max_throttle",
            field=models.FloatField(
                db_default=0.9,
                default=0.9,
                help_text="Largest share of calls that throttling refuses; the others try the remote.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(0.99),
                ],
                verbose_name="most throttled",
            ),
        ),
        migrations.AlterField(
            model_name="circuit",
            name="failure_rate",
            field=models.FloatField(
                db_default=0.5,
                default=0.5,
                help_text="Share of failed calls, up to 1, that opens the circuit, or above which it throttles.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0.001),
                    django.core.validators.MaxValueValidator(1),
                ],
                verbose_name="failure rate",
            ),
        ),
        migrations.AlterField(
            model_name="circuit",
            name="slow_call_rate",
            field=models.FloatField(
                db_default=1.0,
                default=1.0,
                help_text="Share of slow calls that opens the circuit, or above which it throttles.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0.001),
                    django.core.validators.MaxValueValidator(1),
                ],
                verbose_name="slow call rate",
            ),
        ),
        migrations.AlterField(
            model_name="circuit",
            name="strategy",
            field=models.CharField(
                choices=[
                    ("consecutive", "failures in a row"),
                    ("rate", "failure rate"),
                    ("throttle", "throttle"),
                ],
                db_default="consecutive",
                default="consecutive",
                help_text="Open after failures in a row, or by their share of the calls; or stay closed, and refuse as many calls as their share asks for.",
                max_length=15,
                verbose_name="strategy",
            ),
        ),
    ]
