"""The machine and the versions that a run was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import django


def environment(versions: dict[str, str]) -> dict[str, str]:
    """Return the processors and the versions of Python, Django and the given packages, by name."""
    return {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "Python": platform.python_version(),
        "Django": django.get_version(),
        **versions,
    }


def _processor() -> str:
    """Return the model of the processor, as the operating system names it."""
    told = Path("/proc/cpuinfo")
    for line in told.read_text().splitlines() if told.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
