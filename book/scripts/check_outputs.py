"""What may be stored in a notebook: small figures, no stderr, no widgets, no errors.

    python book/scripts/check_outputs.py [--root DIR]
"""
from __future__ import annotations

import argparse
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode
from run_notebook import is_kept, read

FIGURE_LIMIT = 150 * 1024
NOTEBOOK_LIMIT = 1536 * 1024


def notebooks(root: Path) -> list[Path]:
    """All notebooks below nbs/, in order."""
    return sorted(path for path in (root / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def problems(path: Path) -> list[str]:
    """What the notebook at `path` stores but must not, one sentence each; empty when all is well."""
    found = [f"{path}, cell {index}: {problem}"
             for index, cell in enumerate(read(path).cells, start=1) if cell.cell_type == "code"
             for output in cell.outputs for problem in output_problems(output)]
    if (size := path.stat().st_size) > NOTEBOOK_LIMIT:
        found.append(f"{path}: {size // 1024} KB, at most {NOTEBOOK_LIMIT // 1024} KB are allowed")
    return found


def output_problems(output: NotebookNode) -> Iterator[str]:
    """What is wrong with one output."""
    if not is_kept(output):
        yield "holds stderr or a widget"
    if output.output_type == "error":
        yield f"holds an error ({output.ename}: {output.evalue})"
    for kind, content in output.get("data", {}).items():
        size = len(content) if "svg" in kind else len(b64decode(content)) if kind.startswith("image/") else 0
        if size > FIGURE_LIMIT:
            yield f"a figure of {size // 1024} KB, at most {FIGURE_LIMIT // 1024} KB are allowed"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the outputs stored in the notebooks.")
    parser.add_argument("--root", type=Path, default=Path())
    found = [problem for path in notebooks(parser.parse_args().root) for problem in problems(path)]
    print(*found, sep="\n", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
