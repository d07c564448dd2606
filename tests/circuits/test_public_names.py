"""The public names of the package, and that importing it costs and touches nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest
from django.conf import settings

import circuits

NAMES = {
    "AsyncCircuitTransport",
    "BudgetedRetry",
    "CircuitAdapter",
    "CircuitBreaker",
    "CircuitBusyError",
    "CircuitOpenError",
    "CircuitTransport",
    "InjectedFailureError",
    "InvalidInputError",
    "RemoteCallFailedException",
    "TooManyCircuitsError",
    "UnknownCircuitError",
    "acall",
    "call",
    "circuit_task",
    "flush",
    "get",
    "guard",
    "may_retry",
    "protect",
    "retry_within",
}


def test_the_public_names() -> None:
    assert set(circuits.__all__) == NAMES
    assert circuits.__all__ == sorted(circuits.__all__)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_loads_and_is_what_it_says(name: str) -> None:
    value = getattr(circuits, name)
    assert value.__name__ == name
    assert value.__module__.startswith("circuits.")
    assert getattr(circuits, name) is value


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'circuits' has no attribute 'Breaker'$"):
        circuits.Breaker  # noqa: B018


def test_dir_lists_the_names_before_they_are_used() -> None:
    listed = run("import circuits; print(*dir(circuits))").split()
    assert set(listed) >= NAMES
    assert listed == sorted(listed)


def test_the_package_says_that_it_is_typed() -> None:
    assert (files("circuits") / "py.typed").is_file()


def run(code: str) -> str:
    """Run code in a process in which Django is not configured, and return the output."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=settings.BASE_DIR,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import circuits",
        "from circuits import CircuitOpenError, RemoteCallFailedException, InvalidInputError",
        "import circuits.core.machine, circuits.validation, circuits.redaction",
    ],
)
def test_it_needs_no_settings_and_loads_neither_django_nor_requests(code: str) -> None:
    heavy = "{'django', 'requests', 'httpx', 'celery'} & set(sys.modules)"
    assert run(f"import sys; {code}; print(*{heavy})") == "\n"


def test_a_name_that_needs_the_settings_says_so_when_it_is_used() -> None:
    code = """if True:
        import circuits
        try:
            circuits.call
        except Exception as error:
            print(type(error).__name__)
    """
    assert run(code) == "ImproperlyConfigured\n"
