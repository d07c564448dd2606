"""The demo as a user runs it, and its message when a step has another outcome."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.core.management import CommandError, call_command
from rich.console import Console

from cbproject import server, story
from cbproject.ports import any_port
from tests.cbproject.conftest import DEVELOPMENT, Run, project_environment
from tests.concurrency import interrupted


def test_the_story_goes_as_told_and_can_be_told_again(migrated: Run) -> None:
    for _ in range(2):
        result = migrated("demo", "--delay", "1")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.count("Retry after") >= 2
        assert "No request reached the server" in result.stdout
        assert "Changed state from open to half_open" in result.stdout
        assert "Changed state from half_open to closed" in result.stdout
        assert "All went as told." in result.stdout


def test_ctrl_c_stops_the_server_too(migrated: Run, tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=settings.BASE_DIR,
        env={**project_environment(tmp_path), **DEVELOPMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    base_url = demo.stdout.readline().split()[-1].rstrip(".")
    assert requests.get(f"{base_url}/health", timeout=5).ok
    _, complaint = interrupted(demo)
    assert demo.returncode == 130
    assert complaint.endswith("CommandError: Stopped.\n")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{base_url}/health", timeout=5)


def test_databases_that_were_not_migrated_are_named(manage: Run) -> None:
    result = manage("demo", **DEVELOPMENT)
    assert result.returncode == 1
    assert "Were both databases migrated" in result.stderr


@pytest.mark.django_db(databases=["default", "circuits"])
def test_a_step_that_goes_otherwise_is_named(
    monkeypatch: pytest.MonkeyPatch, stage: story.Stage
) -> None:
    monkeypatch.setattr(story, "STEPS", [("The delay passes", story.countdown)])
    with pytest.raises(story.UnexpectedOutcomeError, match="Step 1, 'The delay passes'"):
        story.play(stage)


@pytest.mark.django_db(databases=["default", "circuits"])
def test_a_remote_that_is_not_there_goes_otherwise(stage: story.Stage) -> None:
    with pytest.raises(story.UnexpectedOutcomeError, match="Step 1, 'Two good calls'"):
        story.play(stage)


@pytest.fixture
def stage() -> story.Stage:
    return story.Stage(f"http://127.0.0.1:{any_port()}", Console(quiet=True))


def test_a_server_that_ends_at_once_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(server.ENVIRONMENT, "DJANGO_SETTINGS_MODULE", "missing")
    log = tmp_path / "server.log"
    with (
        pytest.raises(server.ServerNotStartedError, match="did not start"),
        server.serving(any_port(), log),
    ):
        pytest.fail("the server cannot be up")
    assert "No module named 'missing'" in log.read_text()


def test_the_command_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(server.ENVIRONMENT, "DJANGO_SETTINGS_MODULE", "missing")
    with pytest.raises(CommandError, match="did not start"):
        call_command("demo")
