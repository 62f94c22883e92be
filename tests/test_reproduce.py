"""`make reproduce`, in a small copy of the house: one chapter that works, one that fails."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import reproduce
from nbformat import v4
from run_notebook import read, write

TOC = "format: jb-book\nroot: nbs/index\nchapters:\n- file: nbs/papers/1_good\n- file: nbs/papers/2_bad\n"
WORKING = """import os
from pathlib import Path
results = Path(os.environ["MEDXAI_RESULTS"])
(results / "unit.json").write_text("{}")
print("profile", os.environ["MEDXAI_PROFILE"], "rerun", os.environ["MEDXAI_RERUN"])"""
SUMMARY = """#| echo: false
#| label: results-at-a-glance
from IPython.display import Markdown
Markdown("The answer {cite}`ferrante2022` is **42**.")"""


def page(path: Path, title: str, *sources: str) -> None:
    cells = [v4.new_markdown_cell(f"# {title}"), *(v4.new_code_cell(source) for source in sources)]
    cells[1].outputs = [v4.new_output("stream", name="stdout", text="committed output")]
    path.parent.mkdir(parents=True, exist_ok=True)
    write(v4.new_notebook(cells=cells), path)


@pytest.fixture(scope="module")
def house(root, tmp_path_factory):
    house = tmp_path_factory.mktemp("house")
    shutil.copytree(root / "book", house / "book", ignore=shutil.ignore_patterns("_build", "results"))
    shutil.copy(root / "settings.ini", house)
    (house / "book" / "_toc.yml").write_text(TOC)
    page(house / "nbs" / "index.ipynb", "Home", SUMMARY)
    page(house / "nbs" / "papers" / "1_good.ipynb", "Good", WORKING)
    page(house / "nbs" / "papers" / "2_bad.ipynb", "Bad", "raise ValueError('no such thing')")
    return house


@pytest.fixture(scope="module")
def result(house, root):
    patch = pytest.MonkeyPatch()
    patch.delenv("MEDXAI_PROFILE", raising=False)
    before = {path: path.read_bytes() for path in (house / "nbs").rglob("*.ipynb")}
    code = reproduce.reproduce(house, house / "build" / "reproduce")
    patch.undo()
    return code, before


def test_a_failed_chapter_does_not_stop_the_others(result, house):
    built = house / "build" / "reproduce"
    assert result[0] == 1
    assert read(built / "nbs/papers/1_good.ipynb").cells[1].outputs[0].text == "profile demo rerun 1\n"
    assert (built / "book/results/unit.json").exists()
    bad = (built / "book/_build/html/nbs/papers/2_bad.html").read_text(encoding="utf-8")
    assert "The run of this chapter failed" in bad
    assert "committed output" not in bad


def test_the_committed_files_are_untouched(result, house):
    assert all(path.read_bytes() == content for path, content in result[1].items())
    assert not (house / "book" / "_build").exists()
    assert not (house / "book" / "results").exists()


def test_the_home_page_gives_the_summary(result, house):
    assert reproduce.summary(house / "build/reproduce/nbs/index.ipynb") == "The answer is **42**."


def test_an_interrupted_run_keeps_its_results_and_a_finished_one_starts_afresh(house, tmp_path):
    kept = tmp_path / "book" / "results" / "unit.json"
    reproduce.prepare(house, tmp_path)
    kept.write_text("{}")
    reproduce.prepare(house, tmp_path)
    assert kept.exists()
    (tmp_path / "finished").touch()
    reproduce.prepare(house, tmp_path)
    assert not kept.exists()
