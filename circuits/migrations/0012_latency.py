"""How long calls took: a count for each length of time, additive like those beside it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0011_enforce_share"),
    ]

    operations = [
        migrations.AddField(
            model_name="minute",
            name="took_100ms",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_10ms",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_10s",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_1s",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_200ms",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_20ms",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_20s",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_2s",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_500ms",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_50ms",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_5s",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="minute",
            name="took_longer",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
    ]
