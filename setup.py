"""The description for a package index: the README without pictures and links of the repository.

Everything else about the package is in ``pyproject.toml``.
"""

import re
from pathlib import Path

from setuptools import setup

#: A picture of the repository, in a paragraph of its own.
LOCAL_PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?://)[^)]+\)\n+", re.MULTILINE)

#: A link to a file of the repository, such as ``[docs/calling.md](docs/calling.md)``.
LOCAL_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)[^)]+\)")

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")

setup(
    long_description=LOCAL_LINK.sub(r"\1", LOCAL_PICTURE.sub("", readme)),
    long_description_content_type="text/markdown",
)
