import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import IntegrityError, transaction

USERNAME = "admin"


class Command(BaseCommand):
    help = "Creates the superuser `admin` with a random password, unless there is a superuser."

    def handle(self, **options: Any) -> None:
        if get_user_model().objects.filter(is_superuser=True).exists():
            self.stdout.write("There is a superuser already: log in to /admin/ as before.")
            return
        password = secrets.token_urlsafe(12)
        if _create(password):
            self.stdout.write(f"Superuser made: log in to /admin/ as {USERNAME} with {password}")
            self.stdout.write("This password is shown only now; change it in the admin.")
        else:
            self.stdout.write(
                f"There is a user {USERNAME} already who is no superuser: "
                "run `manage.py createsuperuser` and choose another name."
            )


def _create(password: str) -> bool:
    """False when the name is taken; the database decides, also between two such commands."""
    try:
        with transaction.atomic():
            get_user_model().objects.create_superuser(USERNAME, password=password)
    except IntegrityError:
        return False
    return True
