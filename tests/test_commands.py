"""The commands of the Makefile say what is missing, and list themselves."""
from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import bench


@pytest.fixture
def machine(tmp_path: Path):
    """Makes a PATH of a few tools; `python3` may be one that answers as told."""
    def make(*tools: str, python: str | None = None) -> dict[str, str]:
        for tool in ("sh", "dirname", "uname", "grep", *tools): (tmp_path / tool).symlink_to(str(shutil.which(tool)))
        if python is not None:
            (tmp_path / "python3").write_text(f"#!/bin/sh\n{python}\n")
            (tmp_path / "python3").chmod(stat.S_IRWXU)
        return {"PATH": str(tmp_path)}
    return make


@pytest.mark.parametrize(("tools", "python", "message"), [
    (["git"], None, "'python3' was not found. Install the package python3 (3.11 or later)"),
    ([], "exit 0", "'git' was not found. Install the package git."),
    (["git"], 'case "$*" in *version_info*) exit 1;; *--version*) echo Python 3.9.2;; esac',
     "found Python 3.9.2, expected Python 3.11 or later."),
    (["git"], 'case "$*" in *ensurepip*) exit 1;; esac', "'python3' has no venv. Install the package python3-venv."),
])
def test_setup_names_the_missing_package(machine, root: Path, tmp_path: Path, tools: list[str], python: str | None, message: str):
    setup = tmp_path / "project/book/scripts/setup.sh"
    setup.parent.mkdir(parents=True)
    shutil.copy(root / "book/scripts/setup.sh", setup)
    done = subprocess.run([setup], env=machine(*tools, python=python), capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "project/.venv").exists()


def make(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """make, with the environment that runs these tests."""
    command = ["make", "--no-print-directory", "-f", root / "Makefile", "SETUP=0", f"PYTHON={sys.executable}", *words]
    outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(command, cwd=root, env=outer, capture_output=True, text=True)


def test_make_alone_lists_every_command(root: Path):
    listed = make(root).stdout
    for name in ("setup", "reproduce", "test", "book", "refresh", "bench", "help"): assert f"make {name} " in listed


def test_refresh_asks_for_a_chapter(root: Path):
    done = make(root, "refresh")
    assert done.returncode != 0
    assert "make refresh CHAPTER=1" in done.stderr


def test_a_benchmark_is_measured_and_added_to_the_earlier_ones(tmp_path: Path):
    (tmp_path / "small.py").write_text("def benchmark_sum():\n    return {'sum': sum(range(10))}\n")
    results = tmp_path / "results/benchmarks.json"
    bench.add(results, "earlier.one", {"device": "a", "measured": 1})
    command = [sys.executable, bench.__file__, "--folder", tmp_path, "--results", results]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text())
    assert found["earlier.one"] == {"a": {"device": "a", "measured": 1}}
    [row] = found["small.sum"].values()
    assert row["measured"] == {"sum": 45}
    assert row["peak_memory_mib"] > 1
    assert not results.with_suffix(".part").exists()


def test_benchmarks_can_be_chosen_by_name(tmp_path: Path):
    (tmp_path / "small.py").write_text("def benchmark_a(): return {}\ndef benchmark_b(): return {}\ndef helper(): return {}\n")
    assert [name for _, name in bench.benchmarks(tmp_path)] == ["benchmark_a", "benchmark_b"]
