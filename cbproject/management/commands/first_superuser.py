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
            # It would stay in the log of whoever collects what this prints.
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
                f"There is a user {USERNAME} already who is no superuser: "
                "run `manage.py createsuperuser` and choose another name."
            )


def _manage(command: str, user: Any) -> str:
    """Return how to run a command on a user here, to be copied into a shell."""
    python = os.path.relpath(sys.executable)
    # Somewhere else on the machine is the Python of an environment that is active.
    return shlex.join(
        [
            "python" if python.startswith(os.pardir) else python,
            "manage.py",
            command,
            user.get_username(),
        ]
    )


def _create(password: str) -> bool:
    """False when the name is taken; the database decides, also between two such commands."""
    try:
        with transaction.atomic():
            get_user_model().objects.create_superuser(USERNAME, password=password)
    except IntegrityError:
        return False
    return True
