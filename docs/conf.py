"""Sphinx configuration. Build: python -m sphinx -b html -W docs docs/_build"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
# the notebooks' kernels are processes of their own: they shall import this checkout, and say nothing of compiling
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ["TINYGRAD_EFFNET_QUIET"] = "1"

import tinygrad_effnet

project = "tinygrad_effnet"
author = "the tinygrad_effnet authors"
copyright = "2026, the tinygrad_effnet authors"
release = version = tinygrad_effnet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "op_table",
    "steppers",
    "no_third_party",
    "public_names",
]
exclude_patterns = ["_build", "_live", "live"]
exclude_patterns += [f"gallery/*.{suffix}" for suffix in ("ipynb", "py", "json", "md5", "zip")]  # made beside its pages
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Notebooks are text without outputs: every build runs them anew, and a cell that fails ends it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell, for busy machines: none takes twenty on an idle one
nb_merge_streams = True

# The examples with pictures are run; docs/scripts.md shows the others.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"^(?!.*plot_).*\.py$",
    "abort_on_example_error": True,
    "run_stale_examples": True,
    "show_memory": False,
    "download_all_examples": False,
    "write_computation_times": False,
}

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it in words, with shapes
autodoc_default_options = {"members": True}
default_role = "code"
# numpydoc's free-text types ("Tensor (N, C, H, W)") are prose, not references
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_preprocess_types = False

html_theme = "furo"
html_title = "tinygrad_effnet"
html_static_path = ["_static"]
html_css_files = ["site.css"]
if (ROOT / "docs" / "_live").is_dir():  # what docs/make_live.py gathered: the engine in the browser
    html_extra_path = ["_live"]
    tags.add("live")  # noqa: F821 - Sphinx gives this file its tags
