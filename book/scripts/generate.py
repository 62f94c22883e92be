"""Writes from settings.ini whatever carries the name, the repository or the install source.

These are README.md and CITATION.cff, and the first code cell of the home page and of each chapter. `--check` writes
nothing, names what is out of step and then ends with 1.
"""
from __future__ import annotations

import argparse
import json
import sys
from configparser import ConfigParser
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path("book/results/1_clustering.png")
CREDIT = ("Clusters that were found without labels: prototypes, real images and sampled images. "
          "PneumoniaMNIST and BreastMNIST: CC BY 4.0, Yang et al. 2023; MedNIST: CC BY-SA 4.0, B. J. Erickson, Mayo Clinic.")
CELL_ID = "install-on-colab"


def names(root: Path = ROOT) -> dict[str, str]:
    """What a template may ask for, all of it from settings.ini."""
    parser = ConfigParser()
    parser.read(root / "settings.ini", encoding="utf-8")
    settings = parser["DEFAULT"]
    url, name = settings["git_url"], settings["lib_name"]
    shown = f"![What the clusters of chapter 1 hold]({PICTURE})\n\n*{CREDIT}*\n\n"
    picture = shown if (root / PICTURE).exists() else ""
    return {
        "name": name, "repo": settings["repo"], "url": url, "picture": picture,
        "requirement": f"{name} @ {settings['install_source']}",
        "book": f"https://{settings['user']}.github.io/{settings['repo']}/",
        "colab": f"https://colab.research.google.com/github/{settings['user']}/{settings['repo']}/blob/{settings['branch']}",
        "version": settings["version"], "python": settings["min_python"],
        "author": settings["author"], "description": settings["description"],
    }


def filled(template: str, root: Path = ROOT) -> str:
    """A file of book/templates with the names put in."""
    return Template((root / "book/templates" / template).read_text(encoding="utf-8")).substitute(names(root))


def with_install_cell(notebook: str, cell: str) -> str:
    """A notebook's text with `cell` as its first code cell, in place of an earlier version of it."""
    content = json.loads(notebook)
    cells = content["cells"]
    marker = cell.splitlines()[1]
    first = next((i for i, c in enumerate(cells) if c["cell_type"] == "code"), len(cells))
    old = cells[first:first + 1]
    replace = bool(old) and (old[0].get("id") == CELL_ID or marker in "".join(old[0]["source"]))
    cells[first:first + replace] = [{
        "cell_type": "code", "execution_count": None, "id": CELL_ID, "metadata": {}, "outputs": [],
        "source": cell.rstrip("\n").splitlines(keepends=True),
    }]
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file and what should stand in it."""
    cell = filled("colab.py", root)
    notebooks = [*root.glob("nbs/index.ipynb"), *sorted(root.glob("nbs/papers/*.ipynb"))]
    texts = {root / name: filled(name, root) for name in ("README.md", "CITATION.cff")}
    return texts | {path: with_install_cell(path.read_text(encoding="utf-8"), cell) for path in notebooks}


def out_of_step(root: Path = ROOT) -> dict[Path, str]:
    """Those of the generated files that do not hold what they should."""
    return {path: text for path, text in generated(root).items()
            if not path.exists() or path.read_text(encoding="utf-8") != text}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 if anything is out of step")
    check = parser.parse_args().check
    changed = out_of_step()
    for path, text in changed.items():
        print(f"{path.relative_to(ROOT)}: {'not in step with settings.ini, run `make generate`' if check else 'written'}")
        if not check: path.write_text(text, encoding="utf-8")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
