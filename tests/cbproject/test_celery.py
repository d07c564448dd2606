import logging

from django.conf import settings

from cbproject import celery_app


def test_beat_moves_expired_circuits_every_second() -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["half-open-expired-circuits"]
    assert entry["task"] == "circuits.tasks.half_open_expired"
    assert (entry["schedule"], entry["options"]) == (1.0, {"expires": 2.0})


def test_beat_tells_of_openings_within_seconds() -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["tell-of-circuits"]
    assert entry["task"] == "circuits.tasks.notify"
    assert (entry["schedule"], entry["options"]) == (5.0, {"expires": 30.0})


def test_beat_prunes_the_history_every_hour() -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["prune-circuits"]
    assert entry["task"] == "circuits.tasks.prune"
    assert (entry["schedule"], entry["options"]) == (3600.0, {"expires": 1800.0})


def test_the_scheduled_tasks_exist() -> None:
    celery_app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled <= set(celery_app.tasks)


def test_celery_keeps_the_logging_of_the_settings() -> None:
    before = list(logging.getLogger().handlers)
    celery_app.log.setup(loglevel=logging.DEBUG)
    assert logging.getLogger().handlers == before


def test_files_are_the_default_broker() -> None:
    with celery_app.connection_for_write() as connection:
        assert type(connection.transport).__module__ == "cbproject.broker"
