"""Sphinx extension: what stands once in settings.ini reaches the book, and the mathematics need no network."""
from __future__ import annotations

import shutil
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config


def apply_settings(app: Sphinx, config: Config) -> None:
    """Title, author, version and repository from settings.ini (event ``config-inited``)."""
    parser = ConfigParser()
    parser.read(Path(app.srcdir) / "settings.ini", encoding="utf-8")
    settings = parser["DEFAULT"]
    config.project = config.html_title = settings["title"]
    config.author, config.copyright = settings["author"], settings["copyright"]
    config.version = config.release = settings["version"]
    config.html_theme_options.update(
        repository_url=settings["git_url"], repository_branch=settings["branch"], use_repository_button=True)


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Put MathJax beside the pages (event ``build-finished``)."""
    if error or app.builder.format != "html":
        return
    files = distribution("sphinx-mathjax-offline").files or []
    script = next(file for file in files if file.name == "tex-svg.js")
    target = Path(app.outdir) / "_static" / "mathjax" / "tex-svg.js"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(script.locate(), target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", apply_settings)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
