"""Render the book from the outputs stored in the notebooks; warnings are errors.

    python book/scripts/build.py [--root DIR]

The pages are then at DIR/book/_build/html/index.html.
"""
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from check_outputs import notebooks, problems

REPOSITORY = Path(__file__).resolve().parents[2]
JUPYTER_BOOK = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jupyter-book'; main()"
OPTIONS = ["build", ".", "--config", "book/_config.yml", "--toc", "book/_toc.yml", "--path-output", "book", "-q"]
STRICT = ["-W", "-n", "--keep-going"]


def build(root: Path, *, strict: bool = True) -> Path:
    """Render the book of the tree at `root`; returns its first page. With `strict`, a warning is an error.

    Raises RuntimeError when a notebook stores what it must not, or when the rendering fails.
    """
    if found := [problem for path in notebooks(root) for problem in problems(path)]:
        raise RuntimeError("\n".join(found))
    shutil.rmtree(root / "book" / "_build", ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", JUPYTER_BOOK, *OPTIONS, *(STRICT if strict else [])]
    if subprocess.run(command, cwd=root, env=environment, stdout=subprocess.DEVNULL).returncode:
        raise RuntimeError("The book could not be rendered; the reasons stand above.")
    return root / "book" / "_build" / "html" / "index.html"


def main() -> int:
    parser = argparse.ArgumentParser(description="Render the book.")
    parser.add_argument("--root", type=Path, default=REPOSITORY)
    try:
        page = build(parser.parse_args().root.resolve())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The book is at {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
