#!/usr/bin/env python
"""Django's command line for the reference project."""

import os
import signal
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbproject.settings")
    # A process that is told to stop ends as on Ctrl-C, so that its exit handlers run.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
