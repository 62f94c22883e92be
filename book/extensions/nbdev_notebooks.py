"""Sphinx extension: nbdev's ``#|`` directives become what a reader of the book should see.

===========================  ==========================================================
in the cell                  on the page
===========================  ==========================================================
``hide``, ``default_exp``    nothing
``echo: false``              the outputs only
``code-fold: true``          the code folded away, the outputs shown
``export``, ``exporti``      the code, marked as part of the library (class ``tag_export``)
any other                    the code without the directive
``fig-cap``, ``label``       the figure numbered, with this caption, to be referred to by this label
``fig-alt``                  the figure's alternative text; without it, the caption
===========================  ==========================================================

Sphinx hands over the source of each page together with the page's name (``source-read``). That name is what
`run_notices` needs to find the record of the run, so this event is used, and not myst-nb's ``nb_custom_formats``.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from run_notices import notices

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DIRECTIVE = re.compile(r"^#\|\s*(?P<name>[\w-]+):?\s*(?P<value>.*)$")
HIDDEN = {"hide", "default_exp"}
TAGS = {("echo", "false"): "remove-input", ("code-fold", "true"): "hide-input",
        ("export", ""): "export", ("exporti", ""): "export"}


def directives(source: str) -> tuple[dict[str, str], str]:
    """The directives of a cell, name → value, and the code without them.

    >>> directives("#| export\\n#| label: fig-a\\nx = 1")
    ({'export': '', 'label': 'fig-a'}, 'x = 1')
    """
    lines = source.splitlines()
    matches = [DIRECTIVE.match(line) for line in lines]
    found = {match["name"]: unquoted(match["value"]) for match in matches if match}
    code = "\n".join(line for line, match in zip(lines, matches, strict=True) if not match)
    return found, code.strip("\n")


def unquoted(value: str) -> str:
    """The value without the quotes that YAML allows around it."""
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def translate_cell(cell: NotebookNode) -> NotebookNode | None:
    """The cell as it goes on the page; None for one that does not."""
    found, cell.source = directives(cell.source)
    if HIDDEN & set(found) or not (cell.source or cell.outputs):
        return None
    tags = [tag for directive, tag in TAGS.items() if directive in found.items()]
    cell.metadata["tags"] = [*cell.metadata.get("tags", []), *tags]
    cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **figure(found)}
    return cell


def figure(found: dict[str, str]) -> dict[str, Any]:
    """myst-nb's options for a figure with this caption, label and alternative text."""
    alternative = found.get("fig-alt", found.get("fig-cap"))
    options: dict[str, Any] = {"image": {"alt": alternative}} if alternative else {}
    if "fig-cap" in found:
        options["figure"] = {"caption": found["fig-cap"], "name": found.get("label", "")}
    return options


def translate(notebook: NotebookNode, notices: list[str]) -> NotebookNode:
    """The notebook as it goes on the page, with `notices` (Markdown) behind its first cell."""
    cells = [translate_cell(cell) if cell.cell_type == "code" else cell for cell in notebook.cells]
    kept = [cell for cell in cells if cell]
    notebook.cells = kept[:1] + [nbformat.v4.new_markdown_cell(notice) for notice in notices] + kept[1:]
    return notebook


def read_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the source of a notebook by its translation (event ``source-read``)."""
    if app.env.doc2path(page).endswith(".ipynb"):
        notebook = nbformat.reads(source[0], as_version=4)
        source[0] = nbformat.writes(translate(notebook, notices(app.srcdir, page)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
