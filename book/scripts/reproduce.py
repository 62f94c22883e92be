"""Train and evaluate every chapter here and now, and render the book from these runs.

    python book/scripts/reproduce.py

Everything happens in build/reproduce/, a copy of the notebooks and of the book's configuration; the committed files
stay as they are. A run that was interrupted goes on where it stopped, and computes anew what has changed since. The
profile is `demo` unless MEDXAI_PROFILE names another.
"""
from __future__ import annotations

import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from build import REPOSITORY, build
from nbformat import v4
from run_notebook import CellFailed, clear, read, run, write

COPIED = ["nbs", "settings.ini", "book/_config.yml", "book/_toc.yml", "book/references.md", "book/references.bib",
          "book/extensions", "book/static"]
SUMMARY_CELL = "results-at-a-glance"


@dataclass(frozen=True)
class Outcome:
    """How the run of one notebook ended; `error` is empty when it went well."""

    name: str
    seconds: float
    error: str = ""


def prepare(repository: Path, folder: Path) -> None:
    """A fresh copy of what the book is made from; results stay only if the run before was interrupted."""
    if (folder / "finished").exists():
        shutil.rmtree(folder)
    for name in COPIED:
        source, target = repository / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    (folder / "book" / "results").mkdir(parents=True, exist_ok=True)


def execute(path: Path, results: Path, *, passes: int = 1) -> Outcome:
    """Run one notebook from a clean start; a failure is shown and noted on its page.

    A chapter takes two passes: its first screen shows the record that the first pass leaves, and the second pass
    finds all units stored.
    """
    print(f"\n=== {path.stem} ===", flush=True)
    write(clear(read(path)), path)
    environment = {"MEDXAI_PROFILE": os.environ.get("MEDXAI_PROFILE", "demo"), "MEDXAI_RESULTS": str(results),
                   "MEDXAI_RERUN": "1",
                   "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    started = time.monotonic()
    try:
        for _ in range(passes):
            run(path, environment=environment)
    except CellFailed as error:
        print(error, file=sys.stderr)
        note_failure(path)
        return Outcome(path.stem, time.monotonic() - started, str(error))
    return Outcome(path.stem, time.monotonic() - started)


def note_failure(path: Path) -> None:
    """Say on the page that it holds no outputs because its run failed."""
    notebook = read(path)
    notebook.cells.insert(1, v4.new_markdown_cell("```{error}\nThe run of this chapter failed, so it has no outputs.\n```"))
    write(notebook, path)


def render(folder: Path, *, strict: bool) -> Outcome:
    """Render the book of these runs. Where a chapter has failed, its missing figures are no second failure."""
    started = time.monotonic()
    try:
        build(folder, strict=strict)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return Outcome("book", time.monotonic() - started, str(error))
    return Outcome("book", time.monotonic() - started)


def summary(index: Path) -> str:
    """The main numbers, as the home page shows them, without its references."""
    cells = [cell for cell in read(index).cells if SUMMARY_CELL in cell.source and cell.cell_type == "code"]
    shown = "\n".join(output.data["text/markdown"] for cell in cells for output in cell.outputs if "data" in output)
    return re.sub(r" ?\{cite\}`\w+`", "", shown)


def reproduce(repository: Path, folder: Path) -> int:
    """Run and render everything in `folder`; returns the exit code, 1 if anything failed."""
    prepare(repository, folder)
    results, index = folder / "book" / "results", folder / "nbs" / "index.ipynb"
    chapters = sorted((folder / "nbs" / "papers").glob("*.ipynb"))
    outcomes = [execute(path, results, passes=2) for path in chapters] + [execute(index, results)]
    outcomes.append(render(folder, strict=not any(outcome.error for outcome in outcomes)))
    (folder / "finished").touch()
    print(f"\n{summary(index)}\n")
    for outcome in outcomes:
        print(f"{outcome.name:24} {outcome.seconds:7.0f} s   {'FAILED, see above' if outcome.error else 'done'}")
    print(f"\nThe book of these runs: {folder / 'book' / '_build' / 'html' / 'index.html'}")
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(reproduce(REPOSITORY, REPOSITORY / "build" / "reproduce"))
