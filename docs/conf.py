"""Sphinx configuration. Build: python -m sphinx -b html -W docs docs/_build"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent / "_ext")]

import tinygrad_effnet

project = "tinygrad_effnet"
author = "the tinygrad_effnet authors"
copyright = "2026, the tinygrad_effnet authors"
release = version = tinygrad_effnet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "op_table"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

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
html_static_path = []
