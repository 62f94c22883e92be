"""Runs the benchmarks of book/benchmarks and adds what they measured to book/results/benchmarks.json.

A benchmark is a function `benchmark_…()` in book/benchmarks/<subject>.py that returns what it measured: numbers and
short texts by name, or a list of such rows. Each runs in a fresh process, so that its peak memory is its own. Results
are kept by benchmark and device; a new run replaces the earlier one of the same device.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

from medxai.core.environment import environment

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "book/results/benchmarks.json"


def load(path: Path) -> ModuleType:
    """The module in a file."""
    spec = util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None: raise ImportError(f"{path}: not a Python file")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def benchmarks(folder: Path) -> list[tuple[Path, str]]:
    """Every benchmark below a folder, as file and function name."""
    return [(path, name) for path in sorted(folder.glob("[!_]*.py"))
            for name in vars(load(path)) if name.startswith("benchmark_")]


def measure(path: Path, name: str) -> dict[str, Any]:
    """One benchmark, run here: what it returned, how long it took and the memory it needed at most."""
    started = time.perf_counter()
    measured = getattr(load(path), name)()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"measured": measured, "seconds": round(time.perf_counter() - started, 2), "peak_memory_mib": round(peak),
            **environment()}


def in_fresh_process(path: Path, name: str) -> dict[str, Any]:
    """One benchmark in its own process; progress goes to the terminal."""
    command = [sys.executable, __file__, "--one", str(path), name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def add(results: Path, name: str, row: dict[str, Any]) -> None:
    """Puts a row into the file of results, which is whole at any moment."""
    known = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    known.setdefault(name, {})[row["device"]] = row
    results.parent.mkdir(parents=True, exist_ok=True)
    unfinished = results.with_suffix(".part")
    unfinished.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(unfinished, results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run those whose name contains this")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=ROOT / "book/benchmarks")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(Path(options.one[0]), options.one[1])))
        return
    for path, function in benchmarks(options.folder):
        name = f"{path.stem}.{function.removeprefix('benchmark_')}"
        if options.only not in name: continue
        print(f"{name} …", flush=True)
        row = in_fresh_process(path, function)
        add(options.results, name, row)
        print(f"  {row['measured']}\n  {row['seconds']} s, at most {row['peak_memory_mib']} MiB, on {row['device']}")


if __name__ == "__main__":
    main()
