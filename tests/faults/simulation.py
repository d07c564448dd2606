"""Simulates sites of many sizes and writes the tables in docs/faults.md and docs/retries.md.

``python -m tests.faults.simulation`` takes half an hour of two processors. With names of tables,
such as ``openings``, it writes only these.
"""

from __future__ import annotations

import argparse
import logging
import os
from concurrent.futures import ProcessPoolExecutor

import django


def main() -> None:
    """Write the tables named on the command line, or all of them."""
    set_up()
    from tests.faults import tables

    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    names = [*tables.TABLES]
    parser.add_argument("table", nargs="*", help=f"these alone, of {', '.join(names)}")
    chosen = parser.parse_args().table or names
    if unknown := set(chosen) - set(names):
        parser.error(f"There is no table {', '.join(sorted(unknown))}.")
    with ProcessPoolExecutor(initializer=set_up) as pool:
        tables.write(pool, chosen)


def set_up() -> None:
    """Set Django up without the app's log, in which each opening would be a line."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    logging.getLogger("circuits").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
