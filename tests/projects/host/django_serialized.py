"""The same where Django puts back after each test what the database held at first.

Apart from the others: Django cannot do that after a class that does not want it.
"""

from __future__ import annotations

from django.test import TransactionTestCase

from .django_style import Kinds


class InASerializedRollback(Kinds, TransactionTestCase):
    serialized_rollback = True
