"""Six real scans: half a scan is told from the other half by chance alone when chance says which half came before."""
from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from medxai.core.errors import ContentError, MissingFileError
from medxai.data import load_fmri
from medxai.recovery import FeatureClassifier, NetworkExtractor, Networks, cross_validate

N_DRAWS, N_FOLDS = 24, 3


class Kept(TransformerMixin, BaseEstimator):
    """An extractor that is fitted once for each set of training scans, because no label enters into it."""

    def __init__(self, extractor: NetworkExtractor, memory: dict[Any, Any]) -> None:
        self.extractor, self.memory = extractor, memory

    def __sklearn_clone__(self) -> Kept: return Kept(self.extractor, self.memory)

    def fit(self, scans: pd.DataFrame, y: Iterable[Any] | None = None) -> Kept:
        self.trained_on = tuple(scans["image"])
        if self.trained_on not in self.memory:
            self.memory[self.trained_on] = NetworkExtractor(**self.extractor.get_params()).fit(scans)
        self.extractor_ = self.memory[self.trained_on]
        self.patients_ = self.extractor_.patients_
        return self

    def transform(self, scans: pd.DataFrame) -> Networks:
        key = self.trained_on, tuple(scans["image"])
        if key not in self.memory: self.memory[key] = self.extractor_.transform(scans)
        return self.memory[key]


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two scans of each of six subjects, which are the halves of one."""
    try: whole = load_fmri("gift")
    except MissingFileError as error: pytest.skip(f"the six scans are not in MEDXAI_DATA: {error}")
    folder, rows = tmp_path_factory.mktemp("halves"), []
    for scan in whole.itertuples():
        image = nib.load(scan.image)
        middle = image.shape[3] // 2
        for name, part in (("first", slice(0, middle)), ("second", slice(middle, 2 * middle))):
            rows.append((str(_written(folder / f"sub-{scan.patient}_{name}.nii", image, part)), scan.patient, name, scan.tr))
    return pd.DataFrame(rows, columns=["image", "patient", "session", "tr"])


def _written(path: Path, image: Any, volumes: slice) -> Path:
    nib.save(image.slicer[..., volumes], path)
    return path


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """25 volumes hold too few frequencies for a band and for the spectrum of a course."""
    extractor = NetworkExtractor(n_components=6, min_match=0, voxel_size=8.0, smoothing=10.0, band=None, n_drop=0, progress=False,
                                 memory=tmp_path_factory.mktemp("cleaned"))
    return make_pipeline(Kept(extractor, {}), FeatureClassifier(inputs=("map",), n_components=4))


def drawn(patients: pd.Series, draw: np.random.Generator) -> list[str]:
    """Which half is called before, for each subject by the toss of a coin."""
    swapped = {patient: bool(draw.integers(2)) for patient in patients.unique()}
    return ["after" if swapped[patient] != bool(i % 2) else "before" for i, patient in enumerate(patients)]


def test_states_that_are_drawn_at_random_are_told_by_chance(halves: pd.DataFrame, pipeline: Any) -> None:
    """A subject's two scans are one coin, so the 99 % t-interval is over draws; testing on what was learned falls outside."""
    draw, held_out, seen = np.random.default_rng(0), [], []
    networks = Kept(pipeline[0].extractor, pipeline[0].memory).fit_transform(halves)
    for _ in range(N_DRAWS):
        y = drawn(halves["patient"], draw)
        held_out.append(cross_validate(pipeline, halves, y=y, n_folds=N_FOLDS, progress=False).folds["accuracy"].mean())
        seen.append(pipeline[1].fit(networks, y).score(networks, y))
    low, high = stats.t.interval(0.99, N_DRAWS - 1, loc=np.mean(held_out), scale=stats.sem(held_out))
    assert low < 0.5 < high < 0.6 < np.mean(seen)


def test_held_out_scans_are_made_of_the_components(halves: pd.DataFrame, pipeline: Any) -> None:
    """Six components of four subjects explain half of the other two's scans, more than as many maps of noise do."""
    trained = halves["patient"].isin(halves["patient"].unique()[:4])
    extractor = Kept(pipeline[0].extractor, pipeline[0].memory).fit(halves[trained]).extractor_
    explained, noise = extractor.reconstruction_r2(halves[~trained]), copy.copy(extractor)
    noise.components_ = np.random.default_rng(0).normal(size=extractor.components_.shape)
    assert explained.min() > 0.45
    assert explained.mean() > noise.reconstruction_r2(halves[~trained]).mean() + 0.05


def test_components_that_have_seen_the_tested_are_refused(halves: pd.DataFrame, pipeline: Any) -> None:
    networks = Kept(pipeline[0].extractor, pipeline[0].memory).fit_transform(halves)
    with pytest.raises(ContentError, match="fitted on patients that are to be tested: 007"):
        cross_validate(pipeline[1], networks, y=["before", "after"] * 6, n_folds=N_FOLDS, progress=False)
