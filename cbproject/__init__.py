"""The reference project: the circuits app at work in a site of its own."""

from cbproject.celery import app as celery_app

__all__ = ["celery_app"]
