"""`manage.py first_superuser`, which `make run` calls so that somebody can log in."""

import os
import secrets
import shlex
import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import IntegrityError, transaction

USERNAME = "admin"


class Command(BaseCommand):
    help = "Creates the superuser `admin` with a random password, unless there is a superuser."

    def handle(self, **options: Any) -> None:
        known = get_user_model().objects.filter(is_superuser=True).order_by("pk").first()
        if known is not None:
            self.stdout.write("There is a superuser already: log in to /admin/ as before.")
            self.stdout.write(f"A lost password: {_manage('changepassword', known)} sets another.")
            return
        if not self.stdout.isatty():
            # The password would stay in the log that collects this output.
            self.stdout.write(
                "No superuser was made: its password is shown on a terminal only. Run `manage.py "
                "first_superuser` in one, or set DJANGO_SUPERUSER_PASSWORD and run `manage.py "
                f"createsuperuser --noinput --username {USERNAME} --email ''`."
            )
            return
        password = secrets.token_urlsafe(12)
        if _create(password):
            self.stdout.write(f"Superuser made: log in to /admin/ as {USERNAME} with {password}")
            self.stdout.write("This password is shown only now; change it in the admin.")
        else:
            self.stdout.write(
                f"There already is a user {USERNAME} who is not a superuser: "
                "run `manage.py createsuperuser` and choose another name."
            )


def _manage(command: str, user: Any) -> str:
    """Return the shell command that runs a management command on a user."""
    python = os.path.relpath(sys.executable)
    # A Python outside this folder belongs to an active environment, so its name is enough.
    return shlex.join(
        [
            "python" if python.startswith(os.pardir) else python,
            "manage.py",
            command,
            user.get_username(),
        ]
    )


def _create(password: str) -> bool:
    """Create the superuser; return False if the name is taken.

    The database decides, so that two such commands at once do not create two.
    """
    try:
        with transaction.atomic():
            get_user_model().objects.create_superuser(USERNAME, password=password)
    except IntegrityError:
        return False
    return True
