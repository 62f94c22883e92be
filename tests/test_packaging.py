"""Wheel and source distribution: what is inside, and that the wheel imports where nothing else of ours is."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("packaging")
IMPORT_NAMES = {"scikit-learn": "sklearn", "scikit-image": "skimage", "scikit-posthocs": "scikit_posthocs",
                "lazy-loader": "lazy_loader", "pillow": "PIL"}


def run(*command: str | Path, **options) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist, both built from a copy of the files that git would commit; no network."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    names = run("git", "ls-files", "-co", "--exclude-standard", cwd=root).splitlines()
    for name in filter(lambda name: (root / name).is_file(), names):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((root / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, copy)
    return built


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    [wheel] = distributions.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path, root: Path):
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(root)) for path in (root / "medxai").rglob("*.py")}
    assert modules | {"medxai/py.typed"} == {name for name in inside if name.startswith("medxai/")}
    others = {name.split("/", 1)[0] for name in inside} - {"medxai"}
    assert [bool(re.fullmatch(r"medxai-[\d.]+\.dist-info", name)) for name in others] == [True]
    assert {"LICENSE", "LICENSES.md"} <= {Path(name).name for name in inside if "/licenses/" in name}


def test_the_source_distribution_has_no_outputs_results_or_weights(distributions: Path):
    [archive] = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as files: inside = [name.split("/", 1)[-1] for name in files.getnames()]
    assert {"pyproject.toml", "README.md", "LICENSE", "LICENSES.md", "medxai/py.typed", "medxai/core/errors.py"} <= set(inside)
    assert not [name for name in inside if name.startswith(("nbs", "book", "tests", ".")) or
                name.endswith((".ipynb", ".json", ".npz", ".safetensors", ".png"))]


def test_the_wheel_imports_in_an_environment_without_our_sources(wheel: Path, tmp_path: Path):
    """Its dependencies are those of this environment, lent by a .pth file; medxai itself comes from the wheel alone."""
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty/bin/python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--no-deps", "--no-index", "--target", site, wheel)
    (site / "lent.pth").write_text(sysconfig.get_path("purelib"))
    code = "import medxai; print(medxai.__file__, medxai.load_images('digits').test.images.dtype)"
    told = run(python, "-I", "-c", code, cwd=tmp_path)
    assert told.split() == [str(site / "medxai/__init__.py"), "torch.uint8"]


def test_the_metadata_names_our_repository(wheel: Path):
    with zipfile.ZipFile(wheel) as files:
        [name] = [name for name in files.namelist() if name.endswith("METADATA")]
        told = files.read(name).decode()
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert f"Project-URL: Homepage, {project['urls']['Homepage']}" in told
    assert f"Version: {metadata.version('medxai')}" in told


def test_every_import_is_a_declared_dependency(root: Path):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]}
    declared = {IMPORT_NAMES.get(name, name) for name in declared}
    imported = set()
    for path in (root / "medxai").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import): imported |= {alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and not node.level: imported.add(str(node.module).split(".")[0])
    optional = {"IPython"}   # prose numbers are shown by it, and only inside a notebook
    assert imported - declared - optional - set(sys.stdlib_module_names) - {"medxai"} == set()


def test_no_upper_bounds_on_torch_and_numpy(root: Path):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]: assert not re.search(r"<|==|~=", line), line


def test_the_pinned_environment_is_exact_and_of_no_machine(root: Path):
    lines = [line for line in (root / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines[0].startswith("torch==")
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+", line) for line in lines)
