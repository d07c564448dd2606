"""Who says that a remote fails, and who that it does not. Only columns are added."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0007_down_since"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="accuser",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=100, verbose_name="accused by"
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="other_succeeded_at",
            field=models.DateTimeField(
                blank=True, null=True, verbose_name="last success of another"
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="quarantines",
            field=models.JSONField(blank=True, null=True, verbose_name="processes in quarantine"),
        ),
        migrations.AddField(
            model_name="circuit",
            name="run_by",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=100, verbose_name="failing for"
            ),
        ),
        migrations.AddField(
            model_name="circuit",
            name="succeeded_by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                max_length=100,
                verbose_name="last succeeded for",
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
                    ("reset", "reset"),
                    ("mode", "mode changed"),
                    ("mode_over", "time was up"),
                ],
                max_length=20,
                verbose_name="reason",
            ),
        ),
    ]
