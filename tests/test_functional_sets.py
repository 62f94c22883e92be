"""Functional sets in their official layouts, on small simulated scans: from the files to an answer for each network."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from medxai.data import SurgeryCohort, load_fmri, paired, same_tr
from medxai.recovery import FeatureClassifier, NetworkExtractor, cross_validate

MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
N = 6


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> pd.DataFrame:
    """Scans before and after, of people with strong networks."""
    return SurgeryCohort(n_patients=2 * N, effect=2.0, n_volumes=200).scans(tmp_path_factory.mktemp("simulated"), seed=11)


def link(image: str, path: Path) -> Path:
    """The same file under another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(image, path)
    return path


def confounds(path: Path, columns: list[str], sep: str = "\t") -> None:
    """A table of confounds, random but repeatable."""
    draw = np.random.default_rng(len(path.name))
    pd.DataFrame(draw.standard_normal((200, len(columns))), columns=columns).to_csv(path, sep=sep, index=False)


def people(simulated: pd.DataFrame) -> list[tuple[str, str]]:
    """Image and state: some before, the others after, each person once."""
    names = simulated["patient"].unique()
    chosen = [(name, "before") for name in names[:N]] + [(name, "after") for name in names[N:]]
    return [(simulated.set_index(["patient", "session"]).loc[key, "image"], key[1]) for key in chosen]


def development(root: Path, simulated: pd.DataFrame) -> None:
    """As nilearn's fetch_development_fmri keeps it, with the confounds of an older fMRIPrep."""
    rows = ["participant_id\tAge\tAgeGroup\tChild_Adult\tGender\tHandedness"]
    for number, (image, state) in enumerate(people(simulated), 1):
        name = f"sub-pixar{number:03d}"
        scan = link(image, root / "development_fmri" / f"{name}_task-pixar_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz")
        confounds(scan.with_name(f"{name}_task-pixar_desc-confounds_regressors.tsv"), [*MOTION, "csf", "white_matter"])
        rows.append(f"{name}\t8\t8-12yo\t{'child' if state == 'before' else 'adult'}\tF\tR")
    (root / "development_fmri" / "participants.tsv").write_text("\n".join(rows) + "\n")


def adhd(root: Path, simulated: pd.DataFrame) -> None:
    """As nilearn's fetch_adhd keeps it, with a table of confounds of its own kind."""
    rows = [",Subject,age,site,tdc,adhd"]
    for number, (image, state) in enumerate(people(simulated)):
        name = f"{10042 + number:07d}"
        scan = link(image, root / "adhd" / "data" / name / f"{name}_rest_tshift_RPI_voreg_mni.nii.gz")
        confounds(scan.with_name(f"{name}_regressors.csv"), ["csf", "constant", "linearTrend", "wm", "X", "Y", "Z"])
        rows.append(f"{number},{int(name)},9.5,NYU,{int(state == 'before')},{int(state == 'after')}")
    (root / "adhd" / "ADHD200_40subs_motion_parameters_and_phenotypics.csv").write_text("\n".join(rows) + "\n")


def tumours(root: Path, simulated: pd.DataFrame) -> None:
    """As fMRIPrep leaves ds001226 and ds002080."""
    for row in simulated.itertuples():
        folder, session = ("ds001226", "preop") if row.session == "before" else ("ds002080", "postop")
        name = f"sub-PAT{int(row.patient[-3:]):02d}"
        stem = f"{name}_ses-{session}_task-rest"
        there = root / folder / name / f"ses-{session}" / "func"
        scan = link(row.image, there / f"{stem}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz")
        confounds(scan.with_name(f"{stem}_desc-confounds_timeseries.tsv"), [*MOTION, "csf", "white_matter"])


def answer(scans: pd.DataFrame, positive: str):
    """The whole way from the files, in two folds."""
    extractor = NetworkExtractor(n_components=12, voxel_size=8.0, smoothing=8.0, standardise=False, progress=False)
    return cross_validate(make_pipeline(extractor, FeatureClassifier()), scans, positive=positive, n_folds=2, progress=False)


@pytest.mark.parametrize(("layout", "name", "positive"), [(development, "development", "adult"), (adhd, "adhd", "ADHD")])
def test_groups_of_people(tmp_path, simulated, layout, name, positive):
    layout(tmp_path, simulated)
    scans = load_fmri(name, root=tmp_path)
    assert len(scans) == 2 * N
    assert scans["confounds"].notna().all()
    report = answer(scans, positive)
    assert len(report.cases) == 2 * N * 5
    assert report.positive == positive
    assert report.match["match"].min() > 0.25
    assert (report.cases.groupby("scan")["fold"].nunique() == 1).all()


def test_before_and_after_tumour_surgery(tmp_path, simulated):
    tumours(tmp_path, simulated)
    scans = load_fmri("ds001226", root=tmp_path)
    assert set(scans["session"]) == {"preop", "postop"}
    assert scans.loc[scans["patient"] == "PAT11", "bad"].all()
    scans = same_tr(paired(scans[~scans["bad"]]))
    report = answer(scans, "postop")
    assert report.cases["patient"].nunique() == 2 * N - 1
    assert (report.cases.groupby("patient")["fold"].nunique() == 1).all()
