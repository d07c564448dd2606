"""A reason more in the history: somebody lets an open circuit try at once. No row is touched."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0012_latency"),
    ]

    operations = [
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
                ],
                max_length=20,
                verbose_name="reason",
            ),
        ),
    ]
