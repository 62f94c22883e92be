"""Re-run a chapter at full size and store its outputs, its record and the two hashes of its code.

    python book/scripts/refresh.py CHAPTER        for example 1, or 1_clustering

Units that are stored under book/results/ are not computed again, so an interrupted refresh goes on where it stopped,
and a changed figure takes seconds. MEDXAI_RERUN=1 computes those anew whose code has changed. MEDXAI_PROFILE takes
the place of `full` where it is set.
"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from build import REPOSITORY
from run_notebook import CellFailed, run

from medxai.core.environment import commit_of
from medxai.core.errors import MedxaiError, OptionError
from medxai.core.provenance import Record
from medxai.core.staleness import notebook_hash


def find_chapter(repository: Path, chapter: str) -> Path:
    """The notebook of a chapter, by its number or its name.

    Raises
    ------
    OptionError : there is no such chapter
    """
    papers = sorted((repository / "nbs" / "papers").glob("*.ipynb"))
    for path in papers:
        if chapter in (path.stem, path.stem.split("_")[0]):
            return path
    raise OptionError("CHAPTER", found=chapter, expected=f"one of {', '.join(path.stem for path in papers) or 'none yet'}")


def commit_before(repository: Path) -> str:
    """The commit as MEDXAI_COMMIT carries it to both passes; the first one's outputs would make the tree unclean."""
    commit, clean = commit_of(repository / "medxai")
    return f"{commit}-dirty" if clean is False else commit


def refresh(repository: Path, chapter: str) -> Record:
    """Run the chapter twice, as its first screen shows the last record, then the home page; returns the record.

    Raises
    ------
    CellFailed : nothing is stored then but the units that were finished
    OptionError : the chapter's record does not carry the hash of the chapter as it is now
    """
    path, results = find_chapter(repository, chapter), repository / "book" / "results"
    environment = {"MEDXAI_PROFILE": os.environ.get("MEDXAI_PROFILE", "full"), "MEDXAI_RESULTS": str(results),
                   "MEDXAI_COMMIT": commit_before(repository),
                   "PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    for _ in ("compute", "show the new record on the first screen, from stored units"):
        run(path, environment={**environment, "MEDXAI_REFRESH": "1"})
    record = Record.load(results / f"{path.stem}.json")
    if record.content["notebook"] != notebook_hash(path):
        raise OptionError("record", found="the hash of other code", expected=f"the hash of {path.name}",
                          hint="The last cell that computes must call experiment.save().")
    run(repository / "nbs" / "index.ipynb", environment=environment)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description="Re-run a chapter at full size and store what it finds.")
    parser.add_argument("chapter", help="its number or name, for example 1 or 1_clustering")
    try:
        record = refresh(REPOSITORY, parser.parse_args().chapter)
    except (CellFailed, MedxaiError) as error:
        print(error, file=sys.stderr)
        return 1
    print(record.render("Stored: profile {run.profile} on {run.device}, {run.units} units, {run.minutes:.1f} minutes."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
