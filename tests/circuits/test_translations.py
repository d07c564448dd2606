"""The translations: complete, up to date, consistent with their originals, and in use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Final

import django
import polib
import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from pytest_django import Settings

from circuits import tasks
from circuits.core.status import Mode, Reason, State
from circuits.exceptions import InvalidInputError
from circuits.models import POLICY_FIELDS, Circuit, Transition, history_of
from circuits.steering.operations import OPERATIONS
from circuits.validation import check_name
from tests.commands import shell
from tests.factories import CircuitFactory, TransitionFactory

APP: Final = Path(__file__).parents[2] / "circuits"
CATALOGUES: Final = sorted(APP.glob("locale/*/LC_MESSAGES/django.po"))

#: The placeholders of values: those of ``%`` and those of ``str.format``.
PLACE: Final = re.compile(r"%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[a-zA-Z%]|\{\w*\}")

Key = tuple[str | None, str]

each_catalogue = pytest.mark.parametrize(
    "catalogue", CATALOGUES, ids=lambda path: path.parts[-3] if isinstance(path, Path) else None
)


def key(entry: polib.POEntry | polib.MOEntry) -> Key:
    return entry.msgctxt, entry.msgid


def pairs(entry: polib.POEntry | polib.MOEntry) -> list[tuple[str, str]]:
    """Return each text of an entry with its translation."""
    if not entry.msgid_plural:
        return [(entry.msgid, entry.msgstr)]
    forms = sorted(entry.msgstr_plural.items())
    return [(entry.msgid_plural if form else entry.msgid, text) for form, text in forms]


def entries(catalogue: Path) -> list[tuple[str, str]]:
    return [pair for entry in polib.pofile(str(catalogue)) for pair in pairs(entry)]


# The catalogues ----------------------------------------------------------------------------------


def test_there_is_one_for_dutch() -> None:
    assert "nl" in [path.parts[-3] for path in CATALOGUES]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a copy of the app and gather its texts again; return its folder."""
    if not shutil.which("xgettext"):
        missing = "GNU gettext is not installed, so the texts of the app cannot be gathered."
        if os.environ.get("REQUIRE_GETTEXT") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    copy = tmp_path_factory.mktemp("gathered") / "circuits"
    shutil.copytree(APP, copy, ignore=shutil.ignore_patterns("__pycache__"))
    # -P: the app has modules of the same names as Python's own.
    command = [sys.executable, "-P", "-m", "django", "makemessages", "--all", "--no-obsolete"]
    environment = {
        name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"
    }
    subprocess.run(command, cwd=copy, env=environment, check=True, timeout=60)
    return copy


@each_catalogue
def test_it_holds_every_text_of_the_app_and_no_other(catalogue: Path, gathered: Path) -> None:
    """Run `make messages` and translate what is new when this fails."""
    fresh = polib.pofile(str(gathered / catalogue.relative_to(APP)))
    kept = polib.pofile(str(catalogue))
    assert {key(entry) for entry in kept} == {key(entry) for entry in fresh}
    assert not kept.obsolete_entries()


@each_catalogue
def test_every_text_is_translated_and_nothing_only_guessed(catalogue: Path) -> None:
    found = polib.pofile(str(catalogue))
    assert not found.metadata_is_fuzzy
    assert not [entry.msgid for entry in found if entry.fuzzy]
    assert not [text for text, translated in entries(catalogue) if not translated.strip()]


@each_catalogue
def test_every_plural_has_all_its_forms(catalogue: Path) -> None:
    found = polib.pofile(str(catalogue))
    plurals = re.match(r"nplurals=(\d+);", found.metadata["Plural-Forms"])
    assert plurals
    number = int(plurals[1])
    counted = [entry for entry in found if entry.msgid_plural]
    assert counted
    assert all(sorted(entry.msgstr_plural) == [*range(number)] for entry in counted)


@each_catalogue
def test_what_is_compiled_is_what_is_written(catalogue: Path) -> None:
    written = polib.pofile(str(catalogue))
    compiled = polib.mofile(str(catalogue.with_suffix(".mo")))
    assert {key(e): pairs(e) for e in compiled} == {key(e): pairs(e) for e in written}
    assert compiled.metadata["Plural-Forms"] == written.metadata["Plural-Forms"]


@each_catalogue
def test_the_same_values_stand_in_a_translation(catalogue: Path) -> None:
    wrong = [
        (text, translated)
        for text, translated in entries(catalogue)
        if sorted(PLACE.findall(text)) != sorted(PLACE.findall(translated))
    ]
    assert not wrong


def shape(text: str) -> tuple[str, str, bool]:
    """Return how a text begins and ends, and whether it begins with a capital."""
    begin, end = re.match(r"\s*", text), re.search(r"[\s.,:;!?…]*$", text)
    assert begin
    assert end
    return begin[0], end[0], text.lstrip()[:1].isupper()


@each_catalogue
def test_a_translation_begins_and_ends_like_its_text(catalogue: Path) -> None:
    assert not [pair for pair in entries(catalogue) if shape(pair[0]) != shape(pair[1])]


@each_catalogue
def test_no_word_of_djangos_is_said_differently(catalogue: Path) -> None:
    """All apps share one catalogue, so a text that Django has too would change on its pages."""
    ours = {key(entry): pairs(entry) for entry in polib.pofile(str(catalogue))}
    places = Path(django.__file__).parent.glob(f"**/{catalogue.relative_to(APP)}")
    theirs = [entry for path in places for entry in polib.pofile(str(path))]
    assert len(theirs) > 500
    shared = [entry for entry in theirs if key(entry) in ours and entry.translated()]
    assert not [entry.msgid for entry in shared if pairs(entry) != ours[key(entry)]]


# In use ------------------------------------------------------------------------------------------


def visible(html: str) -> str:
    """Return all texts of a page that people read or hear, including tooltips and labels."""
    html = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", html)
    of_script = r"data-circuits-(?!live|part|time)[a-z-]+"
    said = re.findall(rf'\b(?:title|alt|aria-label|placeholder|{of_script})="([^"]*)"', html)
    said += re.findall(r'<input type="submit"[^>]* value="([^"]*)"', html)
    return unescape(" ".join([re.sub(r"<[^>]*>", " ", html), *said]))


# All texts that do not come from the app are numbers or addresses here.
FORM: Final = {name: getattr(Circuit(), name) for name in POLICY_FIELDS}
BAD_FORM: Final = FORM | {
    "name": "1\x02",
    "probe_url": "http://4@5.6/",
    "failure_statuses": "99",
    "threshold": "0",
}


def _circuit() -> Circuit:
    circuit = CircuitFactory.create(
        name="1", opened=True, last_error="500", probe_url="http://127.0.0.1:1/"
    )
    circuit.last_failure_at = circuit.last_success_at = circuit.opened_at
    circuit.save()
    for reason in Reason:
        TransitionFactory.create(circuit=circuit, reason=reason, actor="42", detail="7")
    CircuitFactory.create(name="2", mode=Mode.OBSERVE)
    CircuitFactory.create(
        name="5",
        injected_failures=0.5,
        injected_delay=1,
        injected_until=timezone.now() + timedelta(minutes=9),
    )
    CircuitFactory.create(name="3", mode=Mode.FORCED_OPEN, state=State.HALF_OPEN)
    CircuitFactory.create(name="4", mode=Mode.FORCED_CLOSED)
    return circuit


def _address(view: str, *args: object) -> str:
    return reverse(f"admin:circuits_{view}", args=args)


def _get(view: str, *names: str) -> Callable[[Client, Circuit], str]:
    """Return a function that shows a page; its URL takes these attributes of the circuit."""

    def show(client: Client, circuit: Circuit) -> str:
        url = _address(view, *(getattr(circuit, name) for name in names))
        return client.get(url).content.decode()

    return show


def _refused_form(client: Client, circuit: Circuit) -> str:
    return client.post(_address("circuit_add"), BAD_FORM).content.decode()


def _asked(key: str) -> Callable[[Client, Circuit], str]:
    """Return a function that shows the confirmation page of an operation."""
    return lambda client, circuit: client.get(
        _address("circuit_operate", circuit.pk, key)
    ).content.decode()


def _done(key: str) -> Callable[[Client, Circuit], str]:
    """Return a function that shows the page after an operation, for a time if it takes one."""

    def show(client: Client, circuit: Circuit) -> str:
        if key == "try_now":
            # The error of a call is in whatever language its author used.
            Circuit.objects.filter(pk=circuit.pk).update(probe_url="")
        url = _address("circuit_operate", circuit.pk, key)
        asked = {"seconds": "3600", "failures": "50", "delay": "1"}
        answer = client.post(url, asked)
        # What the history keeps of a change is in English, as a call's error is.
        history_of(circuit).filter(reason=Reason.INJECTION).update(detail="7")
        return client.get(answer["Location"]).content.decode()

    return show


def _asked_again(client: Client, circuit: Circuit) -> str:
    """Show the confirmation page again, after another user was faster and the time was invalid."""
    url = _address("circuit_operate", circuit.pk, "observe")
    answer = {"mode": Mode.FORCED_OPEN.value, "seconds": "1"}
    return client.post(url, answer).content.decode()


def _asked_of_many(client: Client, circuit: Circuit) -> str:
    chosen = {"action": "force_open", "_selected_action": [1, 2], "select_across": "1"}
    return client.post(_address("circuit_changelist"), chosen).content.decode()


def _done_to_many(client: Client, circuit: Circuit) -> str:
    """Show the list after an operation that was refused, or came too late, for some."""
    keys = ",".join(str(pk) for pk in [*Circuit.objects.values_list("pk", flat=True), 10**9])
    url = _address("circuit_operate_many", "reset")
    return client.post(url, {"keys": keys}, follow=True).content.decode()


def _incident(client: Client, circuit: Circuit) -> str:
    opening = history_of(circuit).last()
    assert opening
    return client.get(_address("circuit_incident", circuit.pk, opening.generation)).content.decode()


def _no_incident(client: Client, circuit: Circuit) -> str:
    return client.get(_address("circuit_incident", circuit.pk, 10**9)).content.decode()


def _transition(client: Client, circuit: Circuit) -> str:
    change = Transition.objects.latest("pk")
    return client.get(_address("transition_change", change.pk)).content.decode()


def _unavailable(client: Client, circuit: Circuit) -> str:
    Circuit.objects.filter(pk=circuit.pk).update(name="example")
    answer = client.get(reverse("example", args=["success"]), headers={"accept": "text/html"})
    assert answer.status_code == 503
    return answer.content.decode()


PAGES: Final = {
    "list": _get("circuit_changelist"),
    "circuit": _get("circuit_change", "pk"),
    "new circuit": _get("circuit_add"),
    "refused form": _refused_form,
    "confirmation": _get("circuit_delete", "pk"),
    "log": _get("circuit_history", "pk"),
    "history": _get("transition_changelist"),
    "change": _transition,
    **{f"question: {key}": _asked(key) for key in OPERATIONS},
    **{f"answer: {key}": _done(key) for key in OPERATIONS},
    "question once more": _asked_again,
    "question about many": _asked_of_many,
    "answer about many": _done_to_many,
    "incident": _incident,
    "no incident": _no_incident,
    "unavailable": _unavailable,
}

each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())


@pytest.fixture
def dutch() -> Client:
    """Return a test client of a superuser who reads Dutch."""
    client = Client(headers={"accept-language": "nl"})
    client.force_login(get_user_model().objects.create_superuser("42"))
    return client


@each_page
@pytest.mark.usefixtures("committed", "faults_allowed")
def test_a_dutch_page_has_no_english_of_ours(
    dutch: Client, page: Callable[[Client, Circuit], str]
) -> None:
    html = page(dutch, _circuit())
    assert '<html lang="nl"' in html
    shown = visible(html)
    (catalogue,) = (path for path in CATALOGUES if path.parts[-3] == "nl")
    english = {
        piece
        for text, translated in entries(catalogue)
        for piece in map(str.strip, PLACE.split(text))
        if len(piece) > 12 and piece not in translated
    }
    assert len(english) > 100
    assert not [piece for piece in english if piece in shown]


@pytest.fixture
def marked(settings: Settings, tmp_path: Path) -> None:
    """Replace Dutch by the English texts, ours and Django's, with brackets around fixed parts."""
    catalogue = polib.MOFile()
    catalogue.metadata = {
        "Content-Type": "text/plain; charset=UTF-8",
        "Plural-Forms": "nplurals=2; plural=(n != 1);",
    }
    found: dict[Key, polib.POEntry] = {}
    for path in [*Path(django.__file__).parent.glob("**/en/LC_MESSAGES/django.po"), *CATALOGUES]:
        found.update((key(entry), entry) for entry in polib.pofile(str(path)))
    for entry in found.values():
        texts = [bracketed(text) for text, _ in pairs(entry)]
        plural = dict(enumerate(texts)) if entry.msgid_plural else {}
        catalogue.append(
            polib.MOEntry(
                msgctxt=entry.msgctxt,
                msgid=entry.msgid,
                msgid_plural=entry.msgid_plural,
                msgstr="" if plural else texts[0],
                msgstr_plural=plural,
            )
        )
    folder = tmp_path / "nl" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    catalogue.save(str(folder / "django.mo"))
    settings.LOCALE_PATHS = [tmp_path]


def bracketed(text: str) -> str:
    return "⟦" + PLACE.sub(lambda place: f"⟧{place[0]}⟦", text) + "⟧"


def unmarked(text: str) -> list[str]:
    """Return the words that are not marked for translation."""
    # The search icon's text is Django's, and English in every language.
    text = re.sub(r"⟦[^⟧]*⟧|https?://\S*|\bUTC\b|\bSearch\b", " ", text)
    return re.findall(r"[^\W\d_]{2,}", text)


@each_page
@pytest.mark.usefixtures("committed", "faults_allowed", "marked")
def test_every_word_of_a_page_can_be_translated(
    dutch: Client, page: Callable[[Client, Circuit], str]
) -> None:
    assert unmarked(visible(page(dutch, _circuit()))) == []


COMMANDS: Final = {
    "list": ("circuits", "list"),
    "watch": ("circuits", "watch", "--count", "1"),
    "show": ("circuits", "show", "1"),
    "reset": ("circuits", "reset", "1"),
    "unknown circuit": ("circuits", "reset", "9"),
    "refused name": ("circuits", "create", " 9"),
    "refused value": ("circuits", "create", "9", "--timeout", "0"),
    "refused probe": ("probe", "1"),
    "refused interval": ("probe", "1", "--interval", "0"),
    "refused count": ("circuits", "watch", "--count", "0"),
    "beat": ("check_beat",),
}

#: The words of a command that are the same in every language: what is typed, and standards.
TECHNICAL: Final = {
    *("CommandError", "HTTP", "URL", "ms"),
    *("consecutive", "False", "count", "interval", "timeout"),
}


@pytest.mark.parametrize("argv", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.usefixtures("committed", "faults_allowed", "marked")
def test_every_word_of_a_command_can_be_translated(argv: tuple[str, ...]) -> None:
    _circuit()
    with translation.override("nl"):
        ended = shell(*argv)
    assert set(unmarked(ended.out + ended.err)) <= TECHNICAL
    assert "⟦" in ended.out + ended.err


@pytest.mark.usefixtures("committed", "faults_allowed", "marked")
def test_every_word_of_a_notification_can_be_translated(settings: Settings) -> None:
    settings.CIRCUITS = settings.CIRCUITS | {"NOTIFY": {"EMAILS": ["1@example.org"]}}
    _circuit()
    Transition.objects.update(pending=True)
    with translation.override("nl"):
        tasks.notify()
    (message,) = mail.outbox
    assert "⟦" in message.subject
    assert unmarked(f"{message.subject} {message.body}") == []


@pytest.mark.parametrize("page", ["health", "metrics"])
def test_who_may_not_watch_is_told_so_in_dutch(page: str) -> None:
    answer = Client(headers={"accept-language": "nl"}).get(reverse(f"circuits_status:{page}"))
    assert answer.json() == {"detail": "Meld je aan als medewerker, of stuur het health-token mee."}


def test_a_refusal_is_english_in_a_log_and_dutch_for_staff() -> None:
    with translation.override("nl"), pytest.raises(InvalidInputError) as refused:
        check_name(" 1")
    assert str(refused.value) == "A circuit's name must not begin or end with a space: ' 1'."
    with translation.override("nl"):
        worded = refused.value.worded(translation.gettext)
    assert worded == "De naam van een circuit mag niet met een spatie beginnen of eindigen: ' 1'."
