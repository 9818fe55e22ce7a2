"""Settings of the site. `docs/build` builds it; `docs/build first_hour` one page of it."""

import os
from pathlib import Path

from _api import write_api_pages
from _inventories import reachable_inventories
from _models import write_model_pages
from _project import bibtex, urls, where_to_ask

import ratelike

here = Path(__file__).parent

project = "ratelike"
author = "The ratelike developers"
copyright = author
version = release = ratelike.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "_docstrings",
    "_mathematics",
]
exclude_patterns = ["node", "_site"]
pages = os.environ.get("RATELIKE_PAGES", "").split()
if pages:
    include_patterns = ["index.md", *(f"{page}.md" for page in pages)]
    suppress_warnings = ["toc", "ref", "myst"]

write_api_pages(here / "api")
write_model_pages(here.parent / "examples", here / "models")

myst_enable_extensions = [
    "amsmath",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "substitution",
]
myst_substitutions = {"bibtex": bibtex(), "where_to_ask": where_to_ask()}
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600  # s, for each cell
nb_execution_in_temp = True
nb_merge_streams = True
# What a cell says on stderr is a warning, and so an error.
nb_output_stderr = "warn"

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False

html_math_renderer = "katex"
intersphinx_mapping = reachable_inventories(
    {
        "jax": "https://docs.jax.dev/en/latest/",
        "equinox": "https://docs.kidger.site/equinox/",
        "diffrax": "https://docs.kidger.site/diffrax/",
        "optax": "https://optax.readthedocs.io/en/latest/",
        "xarray": "https://docs.xarray.dev/en/stable/",
    }
)
# A reference to a name of the library has to lead somewhere. Types in signatures need not, nor names of libraries whose
# inventories could not be reached.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", ".*"),
    ("py:.*", r"(jax|equinox|diffrax|optax|xarray|numpy|scipy|matplotlib)(\..*)?"),
]

html_theme = "pydata_sphinx_theme"
html_title = "ratelike"
html_static_path = ["static"]
html_favicon = html_logo = "static/logo.svg"
html_context = {"default_mode": "auto"}
html_sidebars = {page: [] for page in ("index", "search", "genindex")}
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "external_links": [{"name": name, "url": url} for name, url in urls().items()],
    "header_links_before_dropdown": 4,
    "logo": {"text": "ratelike"},
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
