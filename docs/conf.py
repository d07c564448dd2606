"""How Sphinx builds the docs: ``make docs``."""

import os
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import_module("django").setup()

project = "django-circuits"
author = "django-circuits contributors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's own name for it

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# A link to a heading is checked like any other: `page.md#its-words`.
myst_heading_anchors = 3
myst_links_external_new_tab = False

# A reference in a docstring is checked too, but for what other packages document.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|django|httpx|requests)\..*"),
    ("py:class", r"([\w.]+\.)?[PR]"),  # the parameters and the result of a function
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
