"""`make refresh` and what the pages say of its runs, in a small copy of the house."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import refresh
import run_notices
from nbformat import v4
from run_notebook import CellFailed, read, write

from medxai.core import provenance, staleness
from medxai.core.errors import OptionError

EXPERIMENT = """from medxai.core.provenance import Experiment, Unit, choose_row
from medxai.core.statistics import bootstrap_interval
experiment = Experiment("1_small", sizes={"quick": {"n": 3}, "full": {"n": 9}})
print(len(experiment.latest().content["numbers"]), "numbers known")
def compute(method, data, seed, n):
    choose_row(["quick"], "quick")
    print("computing", flush=True)
    return Unit({"accuracy": bootstrap_interval(lambda x: x.mean(), [1, 1, 0, 1] * n, n_resamples=50).value})
unit = experiment.unit(compute, method="mean", data="toy", seed=0, n=experiment.sizes.n)
experiment.report("accuracy", unit.numbers["accuracy"])
record = experiment.save()"""
PROSE = '#| echo: false\nrecord.prose("""It was {accuracy:.0%}.""")'
HOME = """#| label: results-at-a-glance
import json
from pathlib import Path
print(json.loads(Path("../book/results/1_small.json").read_text())["numbers"]["accuracy"]["value"])"""


def page(path: Path, *sources: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), *map(v4.new_code_cell, sources)]), path)


def house(folder: Path, root: Path, *sources: str) -> Path:
    shutil.copytree(root / "medxai", folder / "medxai", ignore=shutil.ignore_patterns("__pycache__"))
    page(folder / "nbs/papers/1_small.ipynb", *sources)
    page(folder / "nbs/index.ipynb", HOME)
    return folder


def outputs(folder: Path, number: int) -> list[str]:
    cell = read(folder / "nbs/papers/1_small.ipynb").cells[number]
    return [output.get("text") or output.data["text/markdown"] for output in cell.outputs]


@pytest.fixture(autouse=True, scope="module")
def no_choices():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PROFILE", "RESULTS", "RERUN", "REFRESH", "COMMIT"): patch.delenv(f"MEDXAI_{name}", raising=False)
        yield


@pytest.fixture(scope="module")
def refreshed(root, tmp_path_factory, no_choices):
    """A house after its first refresh."""
    folder = house(tmp_path_factory.mktemp("house"), root, EXPERIMENT, PROSE)
    return folder, refresh.refresh(folder, "1")


def test_outputs_record_and_home_page_are_stored(refreshed):
    folder, record = refreshed
    assert record["run.profile"] == "full"
    assert record["accuracy"] == 0.75
    assert outputs(folder, 1) == ["1 numbers known\n"], "the second pass sees the first one's record, and computes nothing"
    assert outputs(folder, 2) == ["It was 75%."]
    assert read(folder / "nbs/index.ipynb").cells[1].outputs[0].text == "0.75\n"
    assert "medxai.core.statistics:bootstrap_interval" in record.content["code"]
    assert str(folder) not in (folder / "book/results/1_small.json").read_text()


def test_a_changed_figure_computes_no_unit_again(refreshed, tmp_path):
    folder = shutil.copytree(refreshed[0], tmp_path / "house")
    notebook = read(folder / "nbs/papers/1_small.ipynb")
    notebook.cells[2].source = "print('another figure')"
    write(notebook, folder / "nbs/papers/1_small.ipynb")
    record = refresh.refresh(folder, "1_small")
    assert outputs(folder, 1) == ["1 numbers known\n"]
    assert outputs(folder, 2) == ["another figure\n"]
    assert record.content["notebook"] != refreshed[1].content["notebook"]


def test_a_failed_chapter_leaves_the_notebook_as_it_was(root, tmp_path):
    folder = house(tmp_path, root, EXPERIMENT, "raise ValueError('no')")
    before = (folder / "nbs/papers/1_small.ipynb").read_bytes()
    with pytest.raises(CellFailed, match=r"1_small\.ipynb, cell 3 of 3"): refresh.refresh(folder, "1")
    assert (folder / "nbs/papers/1_small.ipynb").read_bytes() == before
    assert list((folder / "book/results/1_small").glob("mean-toy-seed0-*.json")), "the finished unit is kept"


def test_an_unknown_chapter_is_answered_with_those_that_exist(refreshed):
    with pytest.raises(OptionError, match="CHAPTER: found 2, expected one of 1_small"): refresh.find_chapter(refreshed[0], "2")


def test_the_page_says_where_its_outputs_come_from(refreshed):
    [origin] = run_notices.notices(refreshed[0], "nbs/papers/1_small")
    date = refreshed[1]["run.date"][:10]
    assert "profile `full` on " in origin
    assert origin.endswith(f"{date} ({{download}}`run record </book/results/1_small.json>`).\n:::")
    assert run_notices.notices(refreshed[0], "nbs/index") == []
    assert "No run of this chapter" in run_notices.notices(refreshed[0], "nbs/papers/2_none")[0]


def test_changed_code_puts_a_dated_warning_on_the_page(refreshed, tmp_path, monkeypatch):
    sources = staleness.package_sources()
    changed = sources["medxai.core.statistics"].replace("n_resamples: int = 2000", "n_resamples: int = 1999")
    assert changed != sources["medxai.core.statistics"]
    monkeypatch.setattr(provenance, "package_sources", lambda _: {**sources, "medxai.core.statistics": changed})
    _, warning = run_notices.notices(refreshed[0], "nbs/papers/1_small")
    assert warning.startswith(":::{warning}\nAs of 20")
    assert "`medxai.core.statistics.bootstrap_interval`" in warning


def test_units_of_older_code_put_the_warning_there_as_well(refreshed):
    record = {**refreshed[1].content, "changed": ["chapter:compute"]}
    [warning] = run_notices.staleness(record)
    assert warning.endswith("has changed since: `chapter.compute`.\n:::")
    assert run_notices.staleness(refreshed[1].content) == []


def test_the_record_names_the_tree_from_before_the_run(refreshed, tmp_path):
    folder = shutil.copytree(refreshed[0], tmp_path / "house")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    (folder / ".gitignore").write_text("__pycache__/\n")
    notebook = folder / "nbs/papers/1_small.ipynb"
    stored = read(notebook)
    stored.cells[1].outputs = []
    write(stored, notebook)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]): subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    shutil.rmtree(folder / "book/results")
    content = refresh.refresh(folder, "1").content
    assert outputs(folder, 1) == ["1 numbers known\n"]
    assert (content["commit"], content["clean"], content["unit_commits"]) == (head, True, [head])
    assert refresh.refresh(folder, "1").content["clean"] is False, "the notebook holds outputs that are not committed"


def test_uncommitted_changes_are_admitted():
    record = {"chapter": "1", "commit": "0123456789", "clean": False, "profile": "demo", "devices": ["a", "b"],
              "date": "2026-11-20T08:00:00"}
    assert run_notices.origin(record).splitlines()[1].startswith(
        "These outputs come from profile `demo` on a and b, commit 0123456, with uncommitted changes, 2026-11-20 (")
