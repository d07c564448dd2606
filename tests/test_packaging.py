"""The wheel, in a fresh virtual environment and a fresh project, set up as the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
QUICK_START = README.split("## Quick start")[1].split("\n## ")[0]

pytestmark = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE", "sqlite") != "sqlite", reason="once is enough, on SQLite"
)


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean copy of what git tracks."""
    source = tmp_path_factory.mktemp("source")
    tracked = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", source / "dist", ".", cwd=source)
    [built] = (source / "dist").glob("*.whl")
    return built


def test_it_holds_the_app_alone_and_all_of_it(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    shipped = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "circuits").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == shipped


def test_the_quick_start_to_the_letter(wheel: Path, tmp_path: Path, remote: str) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ("--constraint", ROOT / "requirements.txt")
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
