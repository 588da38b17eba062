"""Configuration of Sphinx; `tools.site` gathers the pages and runs the build."""

from __future__ import annotations

import os
import re
from typing import Any

from nbdebug._version import __version__

# Before autodoc imports Keras.
os.environ["KERAS_BACKEND"] = "torch"

project = "nbdebug"
author = "the nbdebug contributors"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "index"
exclude_patterns: list[str] = []
# As GitHub makes them, so that links to headings hold in both places.
myst_heading_anchors = 4

# Executed before, if at all; the picture of a dashboard is HTML beside the widget.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, str] = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

# Names in single backticks, as docstrings have them.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# With types, one argument a line where they are many.
autodoc_typehints = "signature"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
# Of the trainers the one that no extra brings.
autodoc_mock_imports = ["fastai"]

html_theme = "furo"
html_title = f"nbdebug {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False


def escape_keywords(*given: Any) -> None:
    """Show `**controls` in a docstring as it is written, which would begin bold text."""
    lines: list[str] = given[-1]
    lines[:] = [re.sub(r"\*\*(?=\w)", r"\\*\\*", line) for line in lines]


def skip_default(_app: Any, _what: str, name: str, member: Any, *_: Any) -> bool | None:
    """Leave out the default of a field that is a function: the class tells of the field."""
    is_other = callable(member) and getattr(member, "__name__", name) != name
    return True if is_other else None


def drop_links_back(_app: Any, name: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Drop the links from a source to its text: one module may be told of under two names."""
    if name.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def setup(app: Any) -> None:
    """Let Sphinx call this module: while it reads docstrings before napoleon does."""
    app.connect("autodoc-process-docstring", escape_keywords, priority=400)
    app.connect("autodoc-skip-member", skip_default)
    app.connect("html-page-context", drop_links_back)
