"""The check that library and notebooks are in step finds what it should."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import check_sync


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    """A project of one notebook, with its export."""
    shutil.copy(root / "settings.ini", tmp_path)
    (tmp_path / "nbs/library/core").mkdir(parents=True)
    shutil.copy(root / "nbs/library/core/errors.ipynb", tmp_path / "nbs/library/core")
    (tmp_path / "medxai").mkdir()
    for problem in check_sync.check(tmp_path): assert "missing" in problem
    (tmp_path / "medxai/core").mkdir()
    shutil.copy(root / "medxai/core/errors.py", tmp_path / "medxai/core")
    return tmp_path


def problems(project: Path) -> list[str]:
    """What is out of step, but for the two files that nbdev makes beside each export."""
    return [p for p in check_sync.check(project) if "__init__.py" not in p and "_modidx.py" not in p]


def test_a_fresh_export_is_in_step(project: Path):
    assert problems(project) == []


def test_an_edit_of_the_export_is_found_and_left_alone(project: Path):
    module = project / "medxai/core/errors.py"
    edited = module.read_text() + "\nextra = 1\n"
    module.write_text(edited)
    [problem] = problems(project)
    assert "core/errors.py: different" in problem
    assert "extra = 1" in problem
    assert module.read_text() == edited


def test_a_notebook_that_is_not_clean_is_found_and_left_alone(project: Path):
    path = project / "nbs/library/core/errors.ipynb"
    content = json.loads(path.read_text())
    next(c for c in content["cells"] if c["cell_type"] == "code")["execution_count"] = 7
    dirty = json.dumps(content, indent=1)
    path.write_text(dirty)
    assert any("errors.ipynb: different" in p for p in problems(project))
    assert path.read_text() == dirty


def test_a_module_without_a_notebook_is_found(project: Path):
    (project / "medxai/core/orphan.py").write_text("")
    assert any("core/orphan.py: left over" in p for p in problems(project))
