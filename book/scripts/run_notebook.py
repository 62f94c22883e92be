"""Run a notebook from top to bottom and keep what its reader should see.

Cells marked ``#| eval: false`` are passed over and keep the outputs that they have. What a cell prints to
stderr (progress bars, warnings) appears on the terminal while the cell runs, and is not stored; nor are widgets.
The kernel is the Python that runs this script, whether or not Jupyter knows of it.

    python book/scripts/run_notebook.py nbs/papers/1_clustering.ipynb [--output PATH]
"""
from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

NOT_EVALUATED = re.compile(r"^#\|\s*eval:\s*false\s*$", re.MULTILINE)
WIDGET = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r"(<.*?) at 0x[0-9a-fA-F]+(>)")
NO_WIDGETS = "ignore:IProgress not found"   # progress bars are text here, and meant to be
FIGURES = "--InlineBackend.print_figure_kwargs={'bbox_inches': 'tight', 'metadata': {'Software': None}}"


class CellFailed(RuntimeError):
    """A cell raised an error; the message holds its number, its source and the traceback."""


class OwnPython(AsyncKernelManager):
    """Starts this very interpreter, so that no kernel has to be registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-W", NO_WIDGETS, "-m", "ipykernel_launcher", "-f", "{connection_file}",
                "--log-level=ERROR", FIGURES]
        return KernelSpec(argv=argv, display_name="python3", language="python")


class Runner(NotebookClient):
    """An nbclient that honours nbdev's ``eval: false`` and shows live what the cells say."""

    interrupted = False

    def __init__(self, nb: NotebookNode, **options: Any) -> None:
        super().__init__(nb, kernel_manager_class=OwnPython, timeout=None, coalesce_streams=True,
                         record_timing=False, store_widget_state=False, on_cell_start=self._announce, **options)

    def _announce(self, cell: NotebookNode, cell_index: int) -> None:
        self.cell_index = cell_index
        if cell.cell_type == "code":
            print(f"cell {cell_index + 1}/{len(self.nb.cells)}  {first_line(cell.source)}", flush=True)

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, *args: Any, **kwargs: Any) -> NotebookNode:
        if cell.cell_type != "code" or NOT_EVALUATED.search(cell.source):
            return cell
        cell.outputs = []
        started = time.monotonic()
        await super().async_execute_cell(cell, cell_index, *args, **kwargs)
        if (seconds := time.monotonic() - started) > 5:
            print(f"  took {seconds:.0f} s", flush=True)
        return cell

    async def _async_cleanup_kernel(self) -> None:
        """Called at the end, and before that by Ctrl-C while a cell is still running."""
        reply = getattr(self, "task_poll_for_reply", None)
        self.interrupted = self.interrupted or (reply is not None and not reply.done())
        if self.km is not None:
            await super()._async_cleanup_kernel()

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        if msg["msg_type"] == "stream":
            stream = sys.stderr if msg["content"]["name"] == "stderr" else sys.stdout
            stream.write(msg["content"]["text"])
            stream.flush()
        return super().process_message(msg, cell, cell_index)


def first_line(source: str) -> str:
    """The first line of code, which stands for the cell on the terminal."""
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith("#|")]
    return (lines[0] if lines else "")[:80]


def is_kept(output: Mapping[str, Any]) -> bool:
    """Whether a reader should see this output: no stderr, no widget."""
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Without stderr, widgets and counts; in place. What is left is what ``nbdev_clean`` leaves."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("language_info", None)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = None
        cell.outputs = [output for output in cell.outputs if is_kept(output)]
        for output in cell.outputs:
            tidy_output(output)
    return notebook


def tidy_output(output: NotebookNode) -> None:
    """One output without its count, addresses in memory and trailing line ends of images; in place."""
    if "execution_count" in output:
        output.execution_count = None
    if "text" in output:
        output.text = ADDRESS.sub(r"\1\2", output.text)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = ADDRESS.sub(r"\1\2", content)
        if kind.startswith("image/") and "svg" not in kind:
            output.data[kind] = content.rstrip()


def clear(notebook: NotebookNode) -> NotebookNode:
    """Without any output, in place."""
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
    return notebook


def read(path: Path) -> NotebookNode:
    """The notebook at `path`, in the current format."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Store the notebook whole or not at all, in the form that ``nbdev_clean`` leaves."""
    text = nbformat.v4.writes(notebook, split_lines=True)
    text = json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def run(path: Path, output: Path | None = None, environment: Mapping[str, str] | None = None) -> NotebookNode:
    """Run the notebook at `path`, store it at `output` (default: where it was), and return it.

    Raises CellFailed when a cell fails or the kernel dies, SystemExit on Ctrl-C; nothing is stored then.
    """
    runner = Runner(read(path), resources={"metadata": {"path": str(path.parent)}})
    try:
        runner.execute(env={**os.environ, **(environment or {})})
    except (CellExecutionError, DeadKernelError) as error:
        if runner.interrupted:
            sys.exit("Interrupted. What was finished is kept; the same command goes on from there.")
        raise CellFailed(f"{path}, cell {runner.cell_index + 1} of {len(runner.nb.cells)}:\n{error}") from error
    write(tidy(runner.nb), output or path)
    return runner.nb


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a notebook and store its outputs.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, help="where to store it (default: where it was)")
    options = parser.parse_args()
    try:
        run(options.notebook, options.output)
    except CellFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
