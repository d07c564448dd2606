"""The reference project: a whole site that uses the circuits app."""

from cbproject.celery import app as celery_app

__all__ = ["celery_app"]
