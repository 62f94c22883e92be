"""The notebook runner: what it runs, what it keeps, what it says when a cell fails."""
from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import run_notebook
from nbformat import v4

FIGURE = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1)); plt.plot([0, 1]);"


def notebook(path: Path, *sources: str) -> Path:
    cells = [v4.new_code_cell(source) for source in sources]
    run_notebook.write(v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """One run through everything that a cell can do, stored twice."""
    folder = tmp_path_factory.mktemp("run")
    path = notebook(
        folder / "chapter.ipynb",
        "import os, sys\nprint(sys.executable, os.environ['COLOUR'])",
        "#| eval: false\nraise SystemExit",
        "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass\nprint('half', end='\\r'); print('done')",
        FIGURE,
        "class Anything: pass\nAnything()",
        "import warnings; warnings.warn('beware')",
    )
    before = run_notebook.read(path)
    before.cells[1].outputs = [v4.new_output("stream", name="stdout", text="from an earlier run")]
    run_notebook.write(before, path)
    run_notebook.run(path, folder / "first.ipynb", {"COLOUR": "green"})
    run_notebook.run(path, folder / "second.ipynb", {"COLOUR": "green"})
    return folder


def test_runs_this_python_with_the_given_environment(executed):
    stored = run_notebook.read(executed / "first.ipynb")
    assert stored.cells[0].outputs[0].text == f"{sys.executable} green\n"


def test_a_cell_marked_eval_false_keeps_its_outputs(executed):
    assert run_notebook.read(executed / "first.ipynb").cells[1].outputs[0].text == "from an earlier run"


def test_progress_and_warnings_are_not_stored(executed):
    cells = run_notebook.read(executed / "first.ipynb").cells
    assert [output.text for output in cells[2].outputs] == ["done\n"]
    assert cells[5].outputs == []


def test_progress_is_shown_while_it_runs(tmp_path, capfd):
    run_notebook.run(notebook(tmp_path / "a.ipynb", "import sys; print('40 %', file=sys.stderr)"))
    shown = capfd.readouterr()
    assert "40 %" in shown.err
    assert "cell 1/1  import sys" in shown.out


def test_two_runs_store_the_same_bytes(executed):
    first, second = ((executed / name).read_bytes() for name in ("first.ipynb", "second.ipynb"))
    assert first == second
    png = base64.b64decode(run_notebook.read(executed / "first.ipynb").cells[3].outputs[0].data["image/png"])
    assert png.startswith(b"\x89PNG")
    assert b"tEXt" not in png


def test_what_is_stored_is_clean_for_nbdev(executed):
    clean = pytest.importorskip("nbdev.clean")
    text = (executed / "first.ipynb").read_text(encoding="utf-8")
    cleaned = json.loads(text)
    clean.clean_nb(cleaned, allowed_cell_metadata_keys=["tags"])
    assert json.loads(text) == cleaned


def test_a_failing_cell_stops_the_run_and_nothing_is_stored(tmp_path):
    path = notebook(tmp_path / "chapter.ipynb", "print(1)", "x = 0\n1 / x", "print(2)")
    before = path.read_bytes()
    with pytest.raises(run_notebook.CellFailed, match=r"(?s)chapter.ipynb, cell 2 of 3.*1 / x.*ZeroDivisionError"):
        run_notebook.run(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["chapter.ipynb"]


def test_widgets_are_dropped():
    widget = v4.new_output("display_data", {run_notebook.WIDGET: {"model_id": "1"}, "text/plain": "  0%"})
    cell = v4.new_code_cell("bar", outputs=[widget, v4.new_output("stream", name="stdout", text="kept")])
    tidied = run_notebook.tidy(v4.new_notebook(cells=[cell]))
    assert [output.output_type for output in tidied.cells[0].outputs] == ["stream"]


def test_the_command_says_what_failed(tmp_path, capsys, monkeypatch):
    path = notebook(tmp_path / "chapter.ipynb", "raise KeyError('absent')")
    monkeypatch.setattr("sys.argv", ["run_notebook.py", str(path)])
    assert run_notebook.main() == 1
    assert "cell 1 of 1" in capsys.readouterr().err


def test_an_interruption_stops_the_kernel_and_stores_nothing(tmp_path, root):
    source = "import os, threading\nprint('kernel', os.getpid(), flush=True)\nthreading.Event().wait()"
    path = notebook(tmp_path / "chapter.ipynb", source)
    before = path.read_bytes()
    process = subprocess.Popen([sys.executable, root / "book/scripts/run_notebook.py", path], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    kernel = next(line.split()[1] for line in process.stdout if line.startswith("kernel "))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.rstrip().endswith("Interrupted. What was finished is kept; the same command goes on from there.")
    assert path.read_bytes() == before
    with pytest.raises(ProcessLookupError): os.kill(int(kernel), 0)
