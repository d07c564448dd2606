import logging

from django.conf import settings

from cbproject import celery_app


def test_beat_moves_expired_circuits_every_second() -> None:
    (entry,) = settings.CELERY_BEAT_SCHEDULE.values()
    assert entry["task"] == "circuits.tasks.half_open_expired"
    assert (entry["schedule"], entry["options"]) == (1.0, {"expires": 2.0})


def test_the_scheduled_task_exists() -> None:
    celery_app.loader.import_default_modules()
    assert "circuits.tasks.half_open_expired" in celery_app.tasks


def test_celery_keeps_the_logging_of_the_settings() -> None:
    before = list(logging.getLogger().handlers)
    celery_app.log.setup(loglevel=logging.DEBUG)
    assert logging.getLogger().handlers == before


def test_files_are_the_default_broker() -> None:
    with celery_app.connection_for_write() as connection:
        assert type(connection.transport).__module__ == "cbproject.broker"
