"""Simulate sites of many sizes and write the tables in docs/faults.md.

``python -m tests.faults.simulation`` takes some minutes of two processors.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ProcessPoolExecutor

import django


def main() -> None:
    """Write the tables."""
    set_up()
    from tests.faults import tables

    with ProcessPoolExecutor(initializer=set_up) as pool:
        tables.write(pool)


def set_up() -> None:
    """Set Django up, quietly: each opening is a line of the log otherwise."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    logging.getLogger("circuits").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
