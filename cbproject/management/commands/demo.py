"""`manage.py demo`, which plays the story of `cbproject.story`."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from cbproject import story
from cbproject.ports import any_port
from cbproject.server import ServerNotStartedError, serving


class Command(BaseCommand):
    help = "Plays the life of a circuit against the mock remote, over real HTTP."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--delay",
            type=float,
            default=story.DELAY,
            help="seconds for which the circuit stays open (default: %(default)s)",
        )

    def handle(self, *, delay: float, **options: Any) -> None:
        console = Console()
        try:
            with serving(any_port(), settings.VAR_DIR / "demo-server.log") as base_url:
                console.print(f"The remote is the mock service on {base_url}.", highlight=False)
                story.play(story.Stage(base_url, console), delay)
        except (OSError, ServerNotStartedError, story.UnexpectedOutcomeError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=130) from None
        console.print("\n[green]All went as told.[/green]")
