"""Tells whether medxai/ is what the notebooks export, and whether the notebooks are clean, without writing to either.

Both are made anew in a temporary copy and compared with the working tree. Ends with 1 where they differ.
"""
from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NBDEV = "import sys; from nbdev.{module} import {name}; sys.argv = ['{name}']; {name}()"


def files(folder: Path, suffix: str) -> dict[str, str]:
    """The text of every file below `folder`, by its relative path."""
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8")
            for path in sorted(folder.rglob(f"*{suffix}")) if ".ipynb_checkpoints" not in path.parts}


def differences(ours: Path, fresh: Path, suffix: str, limit: int = 20) -> list[str]:
    """The files that are missing, left over or different, each with the first lines of its difference."""
    here, there = files(ours, suffix), files(fresh, suffix)
    found = []
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) == there.get(name): continue
        state = "missing" if name not in here else "left over" if name not in there else "different"
        lines = unified_diff(here.get(name, "").splitlines(), there.get(name, "").splitlines(), "now", "expected", lineterm="")
        found.append("\n    ".join([f"{ours.name}/{name}: {state}", *list(lines)[2:limit]]))
    return found


def check(root: Path = ROOT) -> list[str]:
    """What is out of step below `root`; an empty list where all is well."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / root.name
        copy.mkdir()
        shutil.copy(root / "settings.ini", copy)
        shutil.copytree(root / "nbs", copy / "nbs")
        for module, name in (("doclinks", "nbdev_export"), ("clean", "nbdev_clean")):
            command = [sys.executable, "-c", NBDEV.format(module=module, name=name)]
            done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
            if done.returncode: return [f"{name}: failed\n{done.stdout}{done.stderr}"]
        return differences(root / "medxai", copy / "medxai", ".py") + differences(root / "nbs", copy / "nbs", ".ipynb")


if __name__ == "__main__":
    problems = check()
    print("\n".join(problems) or "medxai/ is in step with the notebooks, and the notebooks are clean.")
    if problems: print("`make export` brings both in step.")
    sys.exit(bool(problems))
