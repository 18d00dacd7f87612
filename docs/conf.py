"""Configuration of the documentation site; `make docs` builds it into docs/_build/html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import lenext

project = "lenext"
author = "the lenext maintainers"
copyright = "2026, the lenext maintainers"
version = release = lenext.__version__

extensions = [
    "lenext_reference",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".md": "myst-nb"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"lenext {release}"
html_static_path = ["_static"]
html_css_files = ["lenext.css"]
html_js_files = ["lenext.js"]
html_show_sphinx = False
html_theme_options = {"source_repository": "https://github.com/lenext/lenext/", "source_directory": "docs/"}
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]
