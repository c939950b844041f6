"""How Sphinx makes the site from these pages: `make docs` writes it into `build/docs`."""

import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from api_reference import write_reference  # noqa: E402  # it lies beside this file
from notebook_pages import write_notebooks  # noqa: E402

from unweave import __version__  # noqa: E402

project, author = "unweave", "the unweave authors"
release = version = __version__
html_title = f"unweave {release}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True
# Annotations name classes of torch, numpy and jaxtyping, whose own pages would have to be fetched.
nitpick_ignore_regex = [("py:.*", ".*")]

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = html_show_sphinx = html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

ROOT_PAGES = {"SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}  # fmt: skip
"""Files of the repository's root that are pages of the site, and what they are called there."""


def _inside(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Links between a page and the files of the root lead to the site's own pages, and a link whose text is a file's name shows the page's title."""
    for name, page in ROOT_PAGES.items():
        source[0] = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}(#[^)]*)?\)", rf"](/{page}\1)", source[0])
    source[0] = re.sub(r"\]\(\.\./notebooks/(\w+)\.ipynb\)", r"](/reference/notebooks/\1.md)", source[0])
    source[0] = re.sub(r"\[[\w/]+\.md\]\(", "[](", source[0].replace("](docs/", "](/"))


def _included(_app: Sphinx, _path: Path, _parent: str, content: list[str]) -> None:
    """The same for a file of the root that a page includes."""
    _inside(_app, "", content)


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(convert(node.astext()))
    raise _skip()


def _block(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise _skip()


def _skip() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app: Sphinx) -> None:
    """Write the generated pages before the others are read; MathML needs no script and nothing from the network."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    app.connect("builder-inited", lambda _: write_reference(HERE / "reference"))
    app.connect("builder-inited", lambda _: write_notebooks(HERE / "reference" / "notebooks"))
    app.connect("source-read", _inside)
    app.connect("include-read", _included)
