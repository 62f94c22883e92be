"""What is generated from settings.ini: README, citation, Colab cells; and what has to agree with it."""
from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

import generate

NAME = "medxai"
BARE_INSTALL = re.compile(r"pip3? install[^\n#]*?[\s\"'](?:medxai|MEDXAI)(?:\[[\w,]*\])?(?!\s*@)(?![\w./-])")


def tracked(root: Path) -> list[Path]:
    """Every text file that git knows or would add."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [root / name for name in listed.stdout.splitlines() if (root / name).suffix not in {".png", ".npz", ".safetensors"}]


def test_everything_is_in_step_with_the_settings(root: Path):
    assert generate.out_of_step(root) == {}


def test_pyproject_agrees_with_the_settings(root: Path):
    project, names = tomllib.loads((root / "pyproject.toml").read_text())["project"], generate.names(root)
    assert project["name"] == names["name"]
    assert project["urls"]["Homepage"] == names["url"]
    assert project["description"] == names["description"]
    assert project["requires-python"] == f">={names['python']}"


@pytest.mark.parametrize(("line", "bare"), [
    (f"pip install {NAME}", True),
    (f'!pip install -q "{NAME}[compare]"', True),
    (f"python -m pip install --upgrade {NAME}==0.1.0", True),
    (f"uv pip install torch {NAME}", True),
    ('pip install "medxai @ git+https://host/medxai/medxai"', False),
    ("pip install git+https://host/medxai/medxai", False),
    ("pip install ./dist/medxai-0.1.0-py3-none-any.whl", False),
    ("pip install -e .  # medxai in place", False),
])
def test_the_search_for_bare_installs_finds_them(line: str, bare: bool):
    assert bool(BARE_INSTALL.search(line)) == bare


def test_nobody_is_told_to_install_the_other_package(root: Path):
    found = {str(path.relative_to(root)): match.group() for path in tracked(root) if path.is_file()
             for match in BARE_INSTALL.finditer(path.read_text(encoding="utf-8", errors="ignore"))}
    assert found == {}


def notebook(*cells: dict[str, object]) -> str:
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_the_install_cell_goes_before_the_first_code_cell_and_stays_there_once(root: Path):
    text = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title"}
    code = {"cell_type": "code", "id": "b", "metadata": {}, "source": "1 + 1", "outputs": [], "execution_count": None}
    cell = generate.filled("colab.py", root)
    once = generate.with_install_cell(notebook(text, code), cell)
    assert [c["id"] for c in json.loads(once)["cells"]] == ["a", generate.CELL_ID, "b"]
    assert generate.with_install_cell(once, cell) == once
    newer = json.loads(generate.with_install_cell(once, cell.replace("--quiet", "--no-color")))["cells"]
    assert [c["id"] for c in newer] == ["a", generate.CELL_ID, "b"]
    assert "--no-color" in "".join(newer[1]["source"])


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch, root: Path):
    """Runs the install cell as on Colab, with what is then installed under the name; gives the pip commands."""
    def run(metadata_lines: list[str]) -> list[list[str]]:
        commands: list[list[str]] = []
        monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
        monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
        monkeypatch.setattr(metadata, "metadata", lambda _: SimpleNamespace(get_all=lambda *_: metadata_lines))
        exec(compile(generate.filled("colab.py", root), "install cell", "exec"), {})
        return commands
    return run


def test_the_install_cell_installs_on_colab_and_pins_nothing(colab, root: Path):
    names = generate.names(root)
    [command] = colab([f"Homepage, {names['url']}"])
    assert command[1:] == ["-m", "pip", "install", "--quiet", names["requirement"]]


def test_the_install_cell_refuses_a_stranger(colab):
    with pytest.raises(ImportError, match="found another package of this name"):
        colab(["Homepage, https://example.org/medxai"])


def test_the_install_cell_does_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, root: Path):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was run"))
    exec(compile(generate.filled("colab.py", root), "install cell", "exec"), {})


def test_the_lines_of_the_readme_work_when_pasted(root: Path, tmp_path: Path):
    [code] = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) == 5
    shorter = re.sub(r"epochs=\d+", "epochs=1", code)
    done = subprocess.run([sys.executable, "-c", shorter], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
