"""The host's configuration."""

from __future__ import annotations

import sys

from django.apps import AppConfig

import circuits


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        """Read a circuit, as some sites do when they start."""
        if "migrate" not in sys.argv:
            assert circuits.get("payments").state == "closed"
