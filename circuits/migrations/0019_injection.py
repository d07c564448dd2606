"""Faults can be injected into the calls of a circuit for a while. No row is touched."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0018_retry_budget"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="injected_delay",
            field=models.FloatField(
                db_default=0.0,
                default=0.0,
                editable=False,
                help_text="Seconds by which the other calls are late.",
                verbose_name="injected delay",
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="injected_failures",
            field=models.FloatField(
                db_default=0.0,
                default=0.0,
                editable=False,
                help_text="Share of calls that fails without reaching the remote, from 0 to 1.",
                verbose_name="injected failures",
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="injected_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When the injected faults end by themselves; also once that is past.",
                null=True,
                verbose_name="faults injected until",
            ),
        ),
        migrations.AlterField(
            model_name="transition",
            name="reason",
            field=models.CharField(
                choices=[
                    ("failures", "too many failures"),
                    ("failure_rate", "failure rate"),
                    ("slow_calls", "too many slow calls"),
                    ("retry_after", "asked to wait"),
                    ("refuted", "refuted by another process"),
                    ("delay_passed", "delay passed"),
                    ("trial_succeeded", "trial succeeded"),
                    ("trial_failed", "trial failed"),
                    ("try_now", "tried at once"),
                    ("reset", "reset"),
                    ("mode", "mode changed"),
                    ("mode_over", "time was up"),
                    ("injection", "injected faults"),
                ],
                max_length=20,
                verbose_name="reason",
            ),
        ),
        migrations.AlterField(
            model_name="transition",
            name="until",
            field=models.DateTimeField(
                blank=True,
                help_text="When the mode or the faults end by themselves; empty for never.",
                null=True,
                verbose_name="ends",
            ),
        ),
    ]
