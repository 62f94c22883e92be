"""The names and calls that users rely on exist, are typed, and cost nothing until they are used."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PAPER_1 = '''
from torch import Tensor

import medxai
from medxai import ContrastiveAutoencoder, load_images
from medxai.clustering import Clustering

images = load_images("pneumoniamnist", root=None, download=True, size=28)
pixels: Tensor = images.train.images
labels: Tensor = images.val.labels
facts: tuple[tuple[str, ...], str, str] = (images.class_names, images.licence, images.sha256)
model: ContrastiveAutoencoder = ContrastiveAutoencoder(latent_size=50, max_epochs=100, seed=0).fit(pixels)
embedding: Tensor = model.transform(pixels)
pictures: Tensor = model.reconstruct(pixels)
clustering: Clustering = model.cluster(pixels, n_clusters="elbow", refine_epochs=20)
same: Clustering = model.cluster(pixels, n_clusters=10)
numbers: Tensor = clustering.predict(pixels)
clustering.transform(pixels), clustering.reconstruct(pixels)
drawn: Tensor = clustering.sample(16, cluster=3)
clustering.name(labels)
found: Tensor = clustering.predict_label(pixels)
report = clustering.evaluate(images.test)
the_same_names = medxai.load_images, medxai.ContrastiveAutoencoder
'''

PAPER_2 = '''
import torch
from torch import Tensor, nn

import medxai
from medxai import ClassTarget, Phantom, SegmentTarget, attribute, evaluate, load_mri
from medxai.data import Case, CaseFolder, PhantomCases, Slices, split_patients, standardise
from medxai.explanation import METHODS, EvaluationReport, VolumeNet, grid, plot, postprocess, supervoxels, train_classifier
from medxai.explanation.metrics import (
    delta_aupc, feature_portion, measure_importance, modality_importance_correlation, modality_shapley, msfi)

net = nn.Conv2d(4, 4, 3)
x = torch.zeros(2, 4, 16, 16)
maps: Tensor = attribute(net, x, ClassTarget(1), method="kernel_shap", seed=0)
parts: tuple[Tensor, ...] = attribute(net, (x, x), method="gradient")
several: list[Tensor] = attribute(net, x, [ClassTarget(0), ClassTarget("predicted")], method="lime", n_samples=100)
segment: Tensor = attribute(net, x, SegmentTarget(3), method="integrated_gradients", tolerance=0.01)
values, error = attribute(net, x, method="shapley_value_sampling", feature_mask=supervoxels(x), return_error=True)
plot(x, {"lime": postprocess(maps)}, modalities=["T1", "T1ce", "T2", "FLAIR"])
defaults = {name: method.options for name, method in METHODS.items()}
blocks = grid(x, side=4)
the_same_names = medxai.attribute, medxai.ClassTarget, medxai.explanation.metrics

phantom: PhantomCases = Phantom(size=64, dimensions=3).cases(20, seed=0)
slices: Slices = load_mri("lgg")
volumes: CaseFolder[Case] = load_mri("brats", root="data", patients=["BraTS20_Training_001"])
train, val, test = split_patients(slices.patients, seed=0)
labels, masks = phantom.labels, phantom.masks > 0
history = train_classifier(VolumeNet(size=(64, 64, 64), widths=(8, 16)), standardise(phantom.images), labels, max_epochs=1)

report: EvaluationReport = evaluate(net, (x, labels, masks), methods=["gradient", "lime"], importance=None, value="accuracy")
streamed = evaluate(net, ((x[0], 1, masks[0]) for _ in range(2)), importance=[0.0, 1.0, 0.0, 0.5], folder="kept", seed=0)
table = report.cases[["case", "method", "mi_correlation", "feature_portion", "msfi", "iou", "delta_aupc_probability"]]
best, phi = report.cohort.scores["delta_aupc"].idxmax(), report.cohort.importance.phi
ranks = {metric: test.mean_ranks for metric, test in report.cohort.tests.items()}
shares: Tensor = modality_shapley(lambda present: float(len(present)), 4)
measured: Tensor = measure_importance(net, (x, labels), value="auc", absent="lesion").phi
correlation: Tensor = modality_importance_correlation(maps, phi)
portions: tuple[Tensor, Tensor] = feature_portion(maps, masks), msfi(maps, masks, phi, weights="positive")
difference: Tensor = delta_aupc(net, x, labels, maps).delta_aupc
'''


PAPER_3 = '''
import torch
from torch import Tensor, nn

import medxai
from medxai import SegmentationTracIn
from medxai.influence import Ranking, corrupted_masks, nonspecific, plot_influences, train_segmenter, tumour_unet

net = tumour_unet(4, 4, width=8)
images, masks = torch.zeros(6, 4, 32, 32), torch.zeros(6, 32, 32, dtype=torch.int64)
run = train_segmenter(net, images, masks, optimizer="sgd", learning_rate=0.1, max_epochs=2, keep=(1, 2), folder="run")
tracin = SegmentationTracIn(net, run.checkpoints, learning_rates=None, head="auto", loss="dice", classes=None)
tracin = tracin.index((images, masks), folder="index", patients=["ann", "ann", "bob", "bob", "cid", "cid"])
scores: Tensor = tracin.scores((images[:2], masks[:2]))
region: Tensor = tracin.scores([(images[0], masks[0])], region=masks[:1] > 0)
ranking: Ranking = tracin.rank((images[:2], masks[:2]), top=2, test_class=3, by_patient="sum")
proponents: Tensor = ranking.proponents.index
table = ranking.table()[["test", "role", "rank", "index", "score"]]
strange: Tensor = nonspecific(ranking, share=0.3)
own: Tensor = tracin.self_influence()
wrong, which = corrupted_masks(masks, 0.5)
further = SegmentationTracIn(net, [net.state_dict()], layers="all", projection=512, learning_rates=[1e-2])
the_same_name = medxai.SegmentationTracIn
'''


PAPER_4 = '''
import pandas as pd
from sklearn.pipeline import make_pipeline
from torch import Tensor

import medxai
from medxai import NetworkExtractor, NetworkStateClassifier, SurgeryCohort, cross_validate, load_fmri, read_scans
from medxai.data import paired, same_tr
from medxai.recovery import (
    CrossValidation, FeatureClassifier, Networks, RecoveryIndex, as_networks, permute_within_patients, plot_roc, recovery_index,
    summarise, supcon_loss)

scans: pd.DataFrame = read_scans("derivatives")
pipeline = make_pipeline(NetworkExtractor(n_components=20), NetworkStateClassifier(seed=0))
report: CrossValidation = cross_validate(pipeline, scans, groups=scans.patient)
table: pd.DataFrame = report.summary()[["mean", "sd", "low", "high"]]
extractor = NetworkExtractor(n_components=20, min_match=0.3, seed=0).fit(scans)
networks: Networks = extractor.transform(scans)
maps: Tensor = networks.maps
model = NetworkStateClassifier(inputs=("map", "course"), stage1="contrastive", state_weight=4.0, seed=0).fit(networks)
probability = model.predict_proba(networks)
embedding: Tensor = model.embed(networks)
logit: Tensor = model.module("motor")(networks.maps[:, :1], networks.courses[:, :1])
cohort = SurgeryCohort(n_patients=56, n_controls=40, effect=0.0)
simulated: Networks = as_networks(cohort.networks(seed=0))
written: pd.DataFrame = cohort.scans("folder", seed=0)
wrong: CrossValidation = cross_validate(FeatureClassifier(), simulated, ungrouped=True)
index: RecoveryIndex = recovery_index(simulated, before="before", after="after", control="control")
several: pd.DataFrame = summarise([report, report])
labels = permute_within_patients(simulated.session, simulated.patient, seed=0)
loss: Tensor = supcon_loss(embedding[:, 0], labels=maps[:, 0, 0, 0, 0].long(), temperature=0.1)
tumours: pd.DataFrame = same_tr(paired(load_fmri("ds001226", root="data")))
plot_roc([report, report], networks=["motor"])
the_same_names = medxai.NetworkExtractor, medxai.recovery.recovery_index
'''


PAPERS = {"paper 1": PAPER_1, "paper 2": PAPER_2, "paper 3": PAPER_3, "paper 4": PAPER_4}


@pytest.mark.parametrize("snippet_of_paper", PAPERS.values(), ids=PAPERS)
def test_a_paper_type_checks_as_users_type_it(tmp_path: Path, root: Path, snippet_of_paper: str):
    snippet = tmp_path / "snippet.py"
    snippet.write_text(snippet_of_paper)
    command = [sys.executable, "-m", "mypy", "--config-file", root / "pyproject.toml", "--cache-dir", tmp_path, snippet]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_can_be_imported():
    code = """if True:
        import importlib, medxai
        packages = medxai.core, medxai.data, medxai.clustering, medxai.explanation, medxai.influence, medxai.recovery
        for package in (medxai, *packages):
            assert package.__all__, package
            for name in package.__all__: getattr(package, name)
        from medxai import *
        assert load_images is medxai.data.load_images
        assert ContrastiveAutoencoder is medxai.clustering.ContrastiveAutoencoder
        assert attribute is medxai.explanation.attribute
        assert evaluate is medxai.explanation.evaluate
        assert SegmentationTracIn is medxai.influence.SegmentationTracIn
        assert NetworkStateClassifier is medxai.recovery.NetworkStateClassifier
        assert cross_validate is medxai.recovery.cross_validate
        assert read_scans is medxai.data.read_scans
        assert Phantom is medxai.data.Phantom
        assert load_mri is medxai.data.load_mri
        assert all(hasattr(medxai.explanation.metrics, name) for name in medxai.explanation.metrics.__all__)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_medxai_loads_nothing_large():
    command = [sys.executable, "-X", "importtime", "-c", "import sys, medxai; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "lightning"} & set(done.stdout.split())
    [line] = [line for line in done.stderr.splitlines() if line.endswith("| medxai")]
    print(f"import medxai: {int(line.split('|')[1]) / 1000:.0f} ms")
