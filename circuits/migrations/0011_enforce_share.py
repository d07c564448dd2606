"""A share of the refusals may be real; a circuit with none is observed, and ranks as one.

A computed column cannot be altered, so it is made anew, with its index.
"""

import django.core.validators
from django.db import migrations, models

import circuits.fields


class Migration(migrations.Migration):
    dependencies = [
        ("circuits", "0010_unsteady"),
    ]

    operations = [
        migrations.AddField(
            model_name="circuit",
            name="enforce_share",
            field=models.FloatField(
                db_default=1.0,
                default=1.0,
                help_text="Share of refusals that is real; the other calls pass and are only counted as refused.",
                validators=[
                    circuits.fields.validate_number,
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(1),
                ],
                verbose_name="enforced share",
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
                        models.Q(
                            models.Q(
                                ("mode", "observe"),
                                models.Q(("enforce_share", 0), ("mode", "automatic")),
                                _connector="OR",
                            ),
                            models.Q(("state", "closed"), _negated=True),
                        ),
                        then=models.Value(4),
                    ),
                    models.When(
                        models.Q(
                            ("mode", "observe"),
                            models.Q(("enforce_share", 0), ("mode", "automatic")),
                            _connector="OR",
                        ),
                        then=models.Value(5),
                    ),
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
    ]
