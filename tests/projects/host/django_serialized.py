"""The same tests where Django restores the original contents of the database after each test.

They have a module of their own, since Django cannot do that after a class that does not want it.
"""

from __future__ import annotations

from django.test import TransactionTestCase

from .django_style import Kinds


class InASerializedRollback(Kinds, TransactionTestCase):
    serialized_rollback = True
