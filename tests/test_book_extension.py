"""How nbdev's directives, settings.ini and the run records reach the pages of the book."""
from __future__ import annotations

import nbdev_notebooks
import pytest
from nbformat import v4


def translated(source: str, outputs: bool = True):
    cell = v4.new_code_cell(source)
    if outputs: cell.outputs = [v4.new_output("stream", name="stdout", text="1")]
    return nbdev_notebooks.translate_cell(cell)


@pytest.mark.parametrize("source", ["#| hide\nx", "#| default_exp core.errors", "#|hide\nx", "#| eval: false\n#| hide\nx"])
def test_hidden_cells_are_not_on_the_page(source):
    assert translated(source) is None


@pytest.mark.parametrize(("source", "tags"), [
    ("#| export\nx = 1", ["export"]),
    ("#| echo: false\nx = 1", ["remove-input"]),
    ("#|echo: false\nx = 1", ["remove-input"]),
    ("#| echo: true\nx = 1", []),
    ("#| code-fold: true\n#| eval: false\nx = 1", ["hide-input"]),
    ("#| exporti\nx = 1", ["export"]),
    ("#| slow\nx = 1", []),
    ("x = 1", []),
])
def test_directives_become_tags(source, tags):
    cell = translated(source)
    assert cell.metadata["tags"] == tags
    assert cell.source == "x = 1"


def test_a_figure_gets_its_caption_label_and_alternative_text():
    cell = translated("#| label: fig-elbow\n#| fig-cap: \"Inertia: it bends at $k = 4$.\"\n#| fig-alt: A falling curve\nplot()")
    assert cell.metadata["mystnb"] == {
        "image": {"alt": "A falling curve"}, "figure": {"caption": "Inertia: it bends at $k = 4$.", "name": "fig-elbow"}}
    assert cell.source == "plot()"


def test_the_caption_serves_where_there_is_no_alternative_text():
    assert translated("#| fig-cap: Two clusters\nplot()").metadata["mystnb"]["image"] == {"alt": "Two clusters"}


def test_directives_stay_inside_strings_and_comments_that_only_look_alike():
    cell = translated("#| export\ntext = '#| hide'\n  #| inner\n# | spaced")
    assert cell.source == "text = '#| hide'\n  #| inner\n# | spaced"


def test_a_cell_of_directives_only_leaves_nothing():
    assert translated("#| eval: false", outputs=False) is None


def test_notices_follow_the_title():
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), v4.new_code_cell("#| hide"), v4.new_markdown_cell("Text")])
    cells = nbdev_notebooks.translate(notebook, ["one", "two"]).cells
    assert [cell.source for cell in cells] == ["# Title", "one", "two", "Text"]
