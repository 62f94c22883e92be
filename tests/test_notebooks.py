"""What is stored in the notebooks: small, quiet, in the book, and in step with the records of the runs."""
from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from check_outputs import FIGURE_LIMIT, notebooks, problems
from nbdev_notebooks import directives
from nbformat import v4
from run_notebook import read, run, write

from medxai.core.provenance import Record
from medxai.core.staleness import notebook_hash

ROOT = Path(__file__).resolve().parents[1]
ALL = notebooks(ROOT)
CHAPTERS = [path for path in ALL if path.parent.name == "papers"]
DIRECTIVES = {"code-fold", "default_exp", "echo", "eval", "export", "exporti", "fig-alt", "fig-cap", "gpu", "hide",
              "label", "slow"}

every_notebook = pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(ROOT / "nbs").as_posix())
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def code_cells(path: Path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose_template(source: str) -> str | None:
    """The template of a cell that is only record.prose(template)."""
    statements = ast.parse(directives(source)[1]).body
    call = statements[0].value if len(statements) == 1 and isinstance(statements[0], ast.Expr) else None
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "record.prose":
        return ast.literal_eval(call.args[0])
    return None


def out_of_step(path: Path, record: Record) -> list[str]:
    """The sentences of a chapter that the record would give otherwise."""
    found = []
    for cell in code_cells(path):
        template = prose_template(cell.source)
        stored = [output.get("data", {}).get("text/markdown") for output in cell.outputs]
        if template is not None and stored != [record.render(template)]: found.append(template)
    return found


@every_notebook
def test_outputs_are_small_and_quiet(path):
    assert problems(path) == []


@every_notebook
def test_directives_are_known(path):
    assert {name for cell in code_cells(path) for name in directives(cell.source)[0]} <= DIRECTIVES


def test_every_notebook_is_in_the_book(root):
    toc = (root / "book" / "_toc.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(toc)["root"] == "nbs/index"
    listed = set(re.findall(r"nbs/\S+", toc))
    assert {path.relative_to(root).with_suffix("").as_posix() for path in ALL} == listed


@every_chapter
def test_figures_carry_label_caption_and_alternative_text(path):
    drawn = [cell for cell in code_cells(path) if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    missing = {cell.source.splitlines()[0]: {"label", "fig-cap", "fig-alt"} - set(directives(cell.source)[0]) for cell in drawn}
    assert not any(missing.values()), missing


def test_a_label_stands_once_in_the_book():
    found = [directives(cell.source)[0] for path in ALL for cell in code_cells(path)]
    labels = Counter(directive["label"] for directive in found if "label" in directive)
    assert not [label for label, n in labels.items() if n > 1]


@every_chapter
def test_prose_and_code_are_those_of_the_recorded_run(path, root):
    record = root / "book" / "results" / f"{path.stem}.json"
    if not record.exists(): pytest.skip(f"{path.stem}: no run is recorded yet (make refresh)")
    assert out_of_step(path, Record.load(record)) == []
    hint = f"the code of {path.name} is not that of its recorded run: make refresh CHAPTER={path.stem.split('_')[0]}"
    assert Record.load(record).content["notebook"] == notebook_hash(path), hint
    older = [name for name in Record.load(record).content["changed"] if name.startswith("chapter:")]
    assert older == [], f"{hint}, with MEDXAI_RERUN=1"


def test_the_home_page_shows_the_records_as_they_are(root, tmp_path, monkeypatch):
    monkeypatch.delenv("MEDXAI_RESULTS", raising=False)
    run(root / "nbs" / "index.ipynb", tmp_path / "index.ipynb", {"PYTHONPATH": str(root)})
    both = root / "nbs" / "index.ipynb", tmp_path / "index.ipynb"
    stored, now = ([cell.outputs for cell in code_cells(path)] for path in both)
    assert stored == now, "run book/scripts/run_notebook.py nbs/index.ipynb"


def test_a_sentence_that_left_its_record_is_found(tmp_path):
    source = '#| echo: false\nrecord.prose("""It was {accuracy:.0%}.""")'
    cell = v4.new_code_cell(source, outputs=[v4.new_output("display_data", {"text/markdown": "It was 90%."})])
    write(v4.new_notebook(cells=[cell, v4.new_code_cell("x = 1")]), tmp_path / "1_a.ipynb")
    assert out_of_step(tmp_path / "1_a.ipynb", Record({"numbers": {"accuracy": {"value": 0.9}}})) == []
    assert out_of_step(tmp_path / "1_a.ipynb", Record({"numbers": {"accuracy": {"value": 0.8}}})) == ["It was {accuracy:.0%}."]


@pytest.mark.parametrize(("output", "complaint"), [
    (v4.new_output("stream", name="stderr", text="50 %"), "stderr"),
    (v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}), "widget"),
    (v4.new_output("error", ename="KeyError", evalue="x", traceback=[]), "an error \\(KeyError: x\\)"),
    (v4.new_output("display_data", {"image/png": "A" * (FIGURE_LIMIT * 4 // 3 + 8)}), "a figure of 150 KB"),
])
def test_outputs_that_do_not_belong_are_found(tmp_path, output, complaint):
    write(v4.new_notebook(cells=[v4.new_code_cell("x", outputs=[output])]), tmp_path / "a.ipynb")
    [found] = problems(tmp_path / "a.ipynb")
    assert re.search(f"a.ipynb, cell 1: .*{complaint}", found)


def test_a_notebook_that_is_too_large_is_found(tmp_path):
    write(v4.new_notebook(cells=[v4.new_markdown_cell("a" * 1600 * 1024)]), tmp_path / "a.ipynb")
    assert [re.sub(r".*: \d+", "", found) for found in problems(tmp_path / "a.ipynb")] == [" KB, at most 1536 KB are allowed"]
