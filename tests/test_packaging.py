"""The releases: the wheel in a fresh project, and the source distribution with its tests."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from email import message_from_string
from email.message import Message
from fnmatch import fnmatch
from importlib.metadata import distributions
from pathlib import Path

import pytest
from readme_renderer import markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
QUICK_START = README.split("## Quick start")[1].split("\n## ")[0]

#: The patterns of files in a checkout that are not in the repository.
IGNORED = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TEST_DATABASE", "sqlite") != "sqlite", reason="once is enough, on SQLite"
    ),
    pytest.mark.timeout(600),  # packages are installed
]


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution from a clean copy, and from it the wheel; return the folder."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", *IGNORED))
    run(sys.executable, "-m", "build", cwd=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [built] = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the source distribution and return its folder."""
    [built] = dist.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built) as archive:
        archive.extractall(folder, filter="data")
    return folder / built.name.removesuffix(".tar.gz")


def installed(folder: Path) -> Path:
    """Write a file of constraints with the versions that these tests run on; return its path."""
    versions = {each.metadata["Name"]: each.version for each in distributions()}
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
    return constraints


def description(wheel: Path) -> Message:
    """Return the metadata of the wheel, with the description that a package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def _files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_it_holds_the_app_alone_and_all_of_it(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"circuits/{name}" for name in _files(ROOT / "circuits")}


def test_an_index_shows_the_description(wheel: Path) -> None:
    told = description(wheel)
    assert told["Description-Content-Type"] == "text/markdown"
    complaints = io.StringIO()
    shown = markdown.render(str(told.get_payload()), stream=complaints)
    assert shown is not None, complaints.getvalue()
    assert "Quick start</h2>" in re.sub(r"<a [^>]*></a>", "", shown)
    assert "<table>" in shown
    assert "<img" not in shown
    # A relative link would lead to a page of the index that does not exist.
    assert not re.findall(r'href="(?!https?://|#)[^"]*"', shown)
    assert "docs/calling.md" in shown


def test_the_metadata_are_true(wheel: Path) -> None:
    told = description(wheel)
    assert told["License-Expression"] == "BSD-3-Clause"
    assert told["Author"] == "django-circuits contributors"
    assert told.get_all("License-File") == ["LICENSE"]
    assert told.get_all("Project-URL") is None  # an address that is not ours is worse than none


def test_the_source_distribution_holds_all_that_a_checkout_does(unpacked: Path) -> None:
    made = {"PKG-INFO", "setup.cfg"}
    for folder in ("circuits", "cbproject", "mockapi", "tests", "bench", "docs", ".ci"):
        assert _files(unpacked / folder) == _files(ROOT / folder), folder
    top = {path.name for path in unpacked.iterdir() if path.is_file()} - made
    own = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert top == {name for name in own if not any(fnmatch(name, each) for each in IGNORED)}


def test_the_tests_of_the_source_distribution_run(unpacked: Path) -> None:
    """Only some of them are run: those of the machine, the database and the reference project."""
    some = (
        "tests/circuits/core/test_machine.py",
        "tests/circuits/calls/test_call.py",
        "tests/circuits/test_migrations.py",
        "tests/cbproject/test_settings.py",
        "tests/test_readme.py",
    )
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some, cwd=unpacked)
    assert re.search(r"^\d{3,} passed", said, re.MULTILINE), said


def test_the_quick_start_to_the_letter(wheel: Path, tmp_path: Path, remote: str) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ("--constraint", installed(tmp_path))
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *constraints)
    assert "pip install django-circuits" in QUICK_START
    run(*pip, wheel, "pytest", "pytest-django", cwd=tmp_path)

    run(python, "-m", "django", "startproject", "site1", ".", cwd=tmp_path)
    settings_code, view_code = re.findall(r"```python\n(.*?)```", QUICK_START, re.DOTALL)[:2]
    with (tmp_path / "site1" / "settings.py").open("a") as settings:
        settings.write(f"\n{settings_code}\nALLOWED_HOSTS = ['*']\n")
    view_code = view_code.replace("https://rates.example/today", f"{remote}/success")
    (tmp_path / "site1" / "views.py").write_text(view_code)
    (tmp_path / "site1" / "urls.py").write_text(
        textwrap.dedent("""
            from django.urls import path
            from site1.views import rates
            urlpatterns = [path("", rates)]
        """)
    )
    commands = re.findall(r"^    python (manage\.py .*)$", QUICK_START, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        run(python, *command.split(), cwd=tmp_path)
    assert "no issues" in run(python, "manage.py", "check", cwd=tmp_path)

    (tmp_path / "test_site.py").write_text(
        textwrap.dedent("""
            import pytest

            @pytest.mark.django_db(databases=["default", "circuits"])
            def test_a_call(client):
                assert client.get("/").json()["status"] == "ok"

            def test_the_fixture_of_the_package(client, override_circuit):
                override_circuit("rates", state="open", retry_after=9)
                answer = client.get("/")
                assert (answer.status_code, answer["Retry-After"]) == (503, "9")
        """)
    )
    settings_module = {"DJANGO_SETTINGS_MODULE": "site1.settings"}
    said = run(python, "-m", "pytest", "-q", cwd=tmp_path, env=settings_module)
    assert "2 passed" in said
    call = "import circuits; print(circuits.call('shell', URL).status_code)".replace(
        "URL", repr(f"{remote}/success")
    )
    assert run(python, "manage.py", "shell", "-c", call, cwd=tmp_path).strip().endswith("200")
    listed = run(python, "manage.py", "circuits", "list", cwd=tmp_path)
    assert "shell" in listed
