"""The base class of the commands: it prints, and turns errors into messages and exit statuses."""

from __future__ import annotations

import json
import os
import sys
from abc import abstractmethod
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error
from django.utils.translation import gettext as _

from ..exceptions import InvalidInputError, TooManyCircuitsError
from ..redaction import describe
from .screens import screen
from .tables import Screen, clean, encoding_of

#: Exit status when the command could not do what it was asked, and did nothing.
BAD_INPUT: Final = 2

#: Exit status when nobody reads the output any more; shells use the same for SIGPIPE.
NO_READER: Final = 141


class CircuitsCommand(BaseCommand):
    """A command that answers bad input with one sentence and the exit status 2."""

    def handle(self, **options: Any) -> None:
        """Call :meth:`run`, and turn the errors that users can act on into messages."""
        try:
            self.run(**options)
        except (InvalidInputError, TooManyCircuitsError) as error:
            raise CommandError(error.worded(_), returncode=BAD_INPUT) from error
        except (Error, UnicodeEncodeError) as error:
            sentence = _("The circuits' database cannot be used; is it up, and migrated? (%s)")
            raise CommandError(sentence % describe(error), returncode=BAD_INPUT) from error
        except BrokenPipeError:
            # The reader, such as `head`, has closed the pipe. The rest of the output is thrown
            # away, or Python would complain about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(NO_READER)

    @abstractmethod
    def run(self, **options: Any) -> None:
        """Do the command's work; subclasses implement it."""

    def screen(self, *, no_color: bool, force_color: bool, **options: Any) -> Screen:
        """Return the screen to show tables on, given the options about colour."""
        return screen(self.stdout, no_color=no_color, force_color=force_color)

    def say(self, text: str) -> None:
        """Write one line."""
        self.stdout.write(clean(text, encoding_of(self.stdout)))

    def say_json(self, value: Any, *, indent: int | None = 2) -> None:
        """Write a JSON document."""
        self.stdout.write(json.dumps(value, indent=indent, cls=DjangoJSONEncoder))
        self.stdout.flush()
