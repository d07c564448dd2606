"""Runs the suite on the supported versions of Python and Django: ``make test-matrix``.

Each session installs the newest releases that the ranges in ``pyproject.toml`` admit, except one,
which installs the lowest. The pins in ``requirements*.txt`` are for ``make test`` and the other
targets.

``REQUIRED_PYTHONS`` (such as ``3.11 3.13``) names versions of Python whose absence is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nox
from packaging.requirements import Requirement

PROJECT: Final[dict[str, Any]] = nox.project.load_toml("pyproject.toml")["project"]

#: The extras that are tested without any server.
EXTRAS: Final = ("async", "prometheus", "opentelemetry", "terminal")

#: The extras for the tests of databases and brokers, which need servers.
SERVER_EXTRAS: Final = ("redis", "postgres", "mysql")

#: Tests whose outcome does not depend on versions: of the benchmarks, docs and mock service.
ELSEWHERE: Final = ("tests/bench", "tests/mockapi", "tests/test_docs.py")

#: Slow tests that run on the pins only: those that break things on purpose.
ON_THE_PINS: Final = ("tests/faults",)

#: Tests that run on the newest versions and the pins only: of whole projects, of the distribution,
#: and of the rules and the process side, which use no package but Django's connections.
ON_THE_NEWEST: Final = (
    "tests/circuits/core",
    "tests/circuits/process",
    "tests/projects",
    "tests/test_packaging.py",
)

#: Tests of what uses Django and hardly any other package. They run on each Django, the oldest being
#: the one of the pins.
OF_DJANGO: Final = ("tests/circuits/console", "tests/circuits/reports", "tests/circuits/steering")

#: Tests of what uses other packages and hardly Django. They run on the newest and the lowest
#: versions of those, and on the pins.
OF_OTHERS: Final = ("tests/circuits/calls", "tests/circuits/integrations")

#: The warnings that are errors in processes that tests start; in pytest itself, all are.
NO_DEPRECATIONS: Final = "error::DeprecationWarning,error::PendingDeprecationWarning"

#: Options of pytest. Four processes share the tests, which wait for more than half of their time.
#: Property tests try few values, since they try many on the pins. ``TEST_OPTIONS`` holds further
#: options, as in the Makefile.
IN_PARALLEL: Final = (
    *("-n", "4", "--dist", "worksteal", "--hypothesis-profile", "brief"),
    *os.environ.get("TEST_OPTIONS", "").split(),
)

#: Lets the newest Python measure coverage at next to no cost; older ones take twice as long.
MEASURED: Final = {"COVERAGE_CORE": "sysmon"}

nox.options.envdir = "var/nox"
nox.options.error_on_missing_interpreters = False  # except those in REQUIRED_PYTHONS, see below


# Interpreters


def interpreters(version: str) -> Iterator[str]:
    """Yield the paths at which a version of Python may be: on the PATH, or installed by pyenv."""
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    patches = root.glob(f"versions/{version}.*/bin/python")
    yield from map(str, sorted(patches, key=_numbers, reverse=True))


def found(version: str) -> str | None:
    """Return the path of an interpreter of that version that runs, or None.

    pyenv puts commands on the PATH that do not run, for versions that are installed but not chosen.
    """
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in interpreters(version):
        answer = subprocess.run([path, "-c", ask], capture_output=True, text=True)  # noqa: S603
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return path
    return None


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.parts[-3])]


def newest() -> str:
    """Return the newest supported version of Python that is installed, at least ``3.13``."""
    return next((version for version in ("3.15", "3.14") if found(version)), "3.13")


NEWEST: Final = newest()

_missing = [each for each in os.environ.get("REQUIRED_PYTHONS", "").split() if not found(each)]
if _missing:
    raise SystemExit(f"No Python {' and no Python '.join(_missing)} on the PATH or from pyenv.")


# What is installed


def declared(*extras: str) -> list[str]:
    """Return the requirements of the package and of the given extras, with their ranges."""
    optional = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(each for extra in extras for each in optional[extra])]


def lowest(requirement: str) -> str:
    """Return a requirement pinned to the lowest version that its range admits."""
    parsed = Requirement(requirement)
    [at_least] = [each.version for each in parsed.specifier if each.operator == ">="]
    extras = f"[{','.join(parsed.extras)}]" if parsed.extras else ""
    return f"{parsed.name}{extras}=={at_least}"


def tools() -> list[str]:
    """Return the packages that the reference project and the tests need, without their pins."""
    direct = Path("requirements.txt").read_text().split("# What those need in turn")[0]
    return re.findall(r"^([\w-]+)==", direct, re.MULTILINE)


def install(session: nox.Session, *requirements: str) -> None:
    """Install the requirements, and the newest releases of the tools that go with them."""
    session.install("--quiet", *requirements, *tools())
    session.run_install("python", "-m", "pip", "check", silent=True)
    check_claims(session)


def check_claims(session: nox.Session) -> None:
    """End the session unless the classifiers claim the versions that it is about to test."""
    python = printed(session, "import sys; print(sys.version.split()[0])")
    django = printed(session, "import django; print(django.__version__)")
    if not (python and django):
        return  # with --no-install the versions are those that were checked before
    session.log(f"This is Python {python} and Django {django}.")
    for classifier in (
        f"Programming Language :: Python :: {_series(python)}",
        f"Framework :: Django :: {_series(django)}",
    ):
        if classifier not in PROJECT["classifiers"]:
            session.error(f"The classifiers in pyproject.toml lack what is tested: {classifier}.")


def printed(session: nox.Session, code: str) -> str:
    """Return what some code prints in the session's environment; "" with ``--no-install``."""
    said = session.run_install("python", "-c", code, silent=True)
    return str(said or "").strip()


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])


def install_newest(session: nox.Session, *extras: str) -> None:
    """Install the newest Django, even if a tool asks for an older one, and what goes with it."""
    session.install("--quiet", *declared(*extras))
    django = printed(session, "import django; print(django.__version__)")
    install(session, *declared(*extras), f"Django=={django}")


# Sessions


def suite(session: nox.Session, *options: str, **environment: str) -> None:
    """Run the tests whose outcome may depend on versions."""
    ignored = (f"--ignore={path}" for path in (*ELSEWHERE, *ON_THE_PINS))
    environment = {"PYTHONWARNINGS": NO_DEPRECATIONS, **environment}
    session.run("pytest", *IN_PARALLEL, *ignored, *options, *session.posargs, env=environment)


def shorter(*elsewhere: str) -> list[str]:
    """Return options that leave out the tests that run in other sessions."""
    ignored = (f"--ignore={path}" for path in (*ON_THE_NEWEST, *elsewhere))
    return ["-m", "not services and not browser", *ignored]


@nox.session(name="django-5.2", python=found("3.11") or "3.11")
def long_term(session: nox.Session) -> None:
    """Run on the oldest Python and on Django's release with long-term support."""
    install(session, *declared(*EXTRAS), "Django==5.2.*")
    suite(session, *shorter())


@nox.session(name="django-6.0", python=found("3.12") or "3.12")
def between(session: nox.Session) -> None:
    """Run on the versions between the oldest and the newest."""
    install(session, *declared(*EXTRAS), "Django==6.0.*")
    suite(session, *shorter(*OF_OTHERS))


@nox.session(name="newest", python=found(NEWEST) or NEWEST)
def latest(session: nox.Session) -> None:
    """Run on the newest of everything, in a browser too, and measure the coverage."""
    install_newest(session, *EXTRAS)
    suite(session, "-m", "not services", "--cov", "--cov-fail-under=95", **MEASURED)


@nox.session(name="lowest", python=found("3.11") or "3.11")
def oldest(session: nox.Session) -> None:
    """Run on the lowest versions that the ranges admit."""
    install(session, *map(lowest, declared(*EXTRAS)))
    suite(session, *shorter(*OF_DJANGO))


# With servers: tests that depend on drivers and on the SQL that Django writes for each database

WITH_SERVERS: Final = (
    "tests/circuits/process/test_gates.py",
    "tests/circuits/process/test_lending.py",
    "tests/circuits/reports/test_incidents.py",
    "tests/circuits/reports/test_statistics.py",
    "tests/circuits/storage",
    "tests/circuits/test_migrations.py",
    "tests/circuits/test_tasks.py",
    "tests/circuits/upkeep/test_retention.py",
    "tests/faults/test_store_outage.py",
    "tests/test_brokers.py",
)


def on_servers(session: nox.Session) -> None:
    """Run the tests in ``WITH_SERVERS`` on PostgreSQL and on MariaDB."""
    session.run("python", "-m", "tests.services")
    for database in ("postgres", "mariadb"):
        environment = {"TEST_DATABASE": database}
        session.run("pytest", *IN_PARALLEL, *WITH_SERVERS, *session.posargs, env=environment)


@nox.session(name="newest-servers", python=found(NEWEST) or NEWEST, default=False)
def latest_on_servers(session: nox.Session) -> None:
    """Run on the newest Django and the newest drivers, with the four servers."""
    install_newest(session, *EXTRAS, *SERVER_EXTRAS)
    on_servers(session)


@nox.session(name="lowest-servers", python=found("3.11") or "3.11", default=False)
def oldest_on_servers(session: nox.Session) -> None:
    """Run on the lowest versions of the drivers that the ranges admit, with the four servers."""
    install(session, *map(lowest, declared(*EXTRAS, *SERVER_EXTRAS)))
    on_servers(session)
