"""The contract that all attribution methods have to fulfil, in double precision."""
from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ACTIVATIONS, FORMS, Branches, Classifier, images, ready, segmenter
from torch import Tensor, nn

from medxai.core.errors import ContentError, DtypeError, MedxaiError, OptionError, ShapeError
from medxai.explanation import METHODS, ClassTarget, SegmentTarget, attribute, grid

pytestmark = pytest.mark.battery

GRADIENTS = [name for name, method in METHODS.items() if method.family == "gradient"]
PERTURBATIONS = [name for name, method in METHODS.items() if method.family == "perturbation"]
WITH_FEATURES = [name for name in PERTURBATIONS if name != "occlusion"]
RECTIFIERS = ("guided_backprop", "deconvolution", "guided_gradcam")   # for ReLU networks only
BASELINES = [name for name, method in METHODS.items() if "baseline" in method.options]
SAMPLES = {"shapley_value_sampling": 3, "kernel_shap": 100, "lime": 100, "smoothgrad": 4, "gradient_shap": 4}


def options(name: str, x: Any) -> dict[str, Any]:
    """Few samples, and blocks as features."""
    found: dict[str, Any] = {"progress": False}
    if name in WITH_FEATURES: found["feature_mask"] = grid(x, side=4)
    if name in SAMPLES: found["n_samples"] = SAMPLES[name]
    if name == "occlusion": found |= {"window": 3, "stride": 2}
    if name == "integrated_gradients": found["n_steps"] = 8
    return found


def explain(name: str, model: nn.Module, x: Any, target: Any = ClassTarget(1), **more: Any) -> Any:
    return attribute(model, x, target, method=name, **options(name, x) | more)


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


every = pytest.mark.parametrize("name", METHODS)


@every
@pytest.mark.parametrize("dims", [2, 3])
def test_one_map_per_modality_in_the_form_of_the_input(name: str, dims: int):
    x = images(2, 4, *[8] * dims)
    found = explain(name, ready(Classifier(dims=dims)), x)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert found.device == x.device
    assert found.isfinite().all()
    assert found.flatten(1).abs().amax(1).min() > 0
    if not METHODS[name].modality_specific and name not in WITH_FEATURES: close(found, found[:, :1].expand_as(found))


@every
def test_a_model_with_branches_gets_a_tuple(name: str):
    x = images(2, 3, 8, 8), images(2, 1, 4, 12, seed=1)
    more = {"layer": "left"} if "gradcam" in name else {}
    found = explain(name, ready(Branches()), x, **more)
    assert isinstance(found, tuple)
    assert [part.shape for part in found] == [part.shape for part in x]
    opposite = explain(name, ready(Branches()), x, ClassTarget(0), **more)
    if name not in (*RECTIFIERS, "smoothgrad", "kernel_shap"):   # linear in the score; least squares as well, to rounding
        for one, other in zip(found, opposite): close(one, -other)


@every
@pytest.mark.parametrize("dims", [2, 3])
def test_a_class_of_a_segmentation(name: str, dims: int):
    x = images(2, 4, *[8] * dims)
    found = explain(name, ready(segmenter(dims=dims)), x, SegmentTarget(2))
    assert found.shape == x.shape
    assert found.isfinite().all()


@every
def test_several_targets_at_once_equal_one_by_one(name: str):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    targets = [ClassTarget(0), ClassTarget([2, 1]), ClassTarget("predicted")]
    together = explain(name, model, x, targets)
    for found, target in zip(together, targets): close(found, explain(name, model, x, target))


@every
def test_cases_together_equal_one_by_one_at_any_batch_size(name: str):
    model, x = ready(Classifier()), images(3, 4, 8, 8)
    together = explain(name, model, x, batch_size=7)
    close(explain(name, model, x, batch_size=1), together)
    close(torch.cat([explain(name, model, x[i:i + 1]) for i in range(3)]), together)


def test_permutation_looks_at_reference_images_or_at_the_other_cases_only_if_asked():
    model, x = ready(Classifier()), images(3, 4, 8, 8)
    more = {"background": images(5, 4, 8, 8, seed=3)}
    together = explain("feature_permutation", model, x, **more)
    close(torch.cat([explain("feature_permutation", model, x[i:i + 1], **more) for i in range(3)]), together)
    assert not torch.allclose(explain("feature_permutation", model, x), explain("feature_permutation", model, x, within="batch"))


@every
def test_a_seed_repeats_to_the_bit_and_decides_only_where_it_should(name: str):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    found = explain(name, model, x, seed=3)
    torch.rand(5)
    assert torch.equal(found, explain(name, model, x, seed=3))
    assert torch.equal(found, explain(name, model, x, seed=4)) != METHODS[name].random


@every
def test_single_precision_agrees(name: str):
    model, x = ready(Classifier(normalisation="group")), images(2, 4, 8, 8)
    exact = explain(name, model, x)
    found = explain(name, copy.deepcopy(model).float(), x.float())
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-4 * exact.abs().max()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.complete])
@pytest.mark.parametrize("baseline", [0.0, "mean", images(1, 4, 8, 8, seed=5)], ids=["zero", "mean", "tensor"])
def test_complete_methods_sum_to_the_change_of_the_score(name: str, baseline: Any):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    absent = x.mean((2, 3), keepdim=True).expand_as(x) if baseline == "mean" else torch.zeros_like(x) + baseline
    change = (model(x) - model(absent))[:, 1]
    voxels_that_share_a_value = 1 if name == "deeplift" else 4 * 4
    close(explain(name, model, x, baseline=baseline).sum((1, 2, 3)) / voxels_that_share_a_value, change, 1e-9)


@pytest.mark.parametrize("name", ["integrated_gradients", "deeplift"])
def test_the_gap_in_completeness_is_what_it_says(name: str):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    found, gap = explain(name, model, x, return_error=True)
    change = (model(x) - model(torch.zeros_like(x)))[:, 1]
    close(gap.abs().to(x), (found.sum((1, 2, 3)) - change).abs())


def blind(modality: int, **options: Any) -> nn.Module:
    """A classifier that does not look at one modality."""
    model = ready(Classifier(**options))
    with torch.no_grad(): model.first.weight[:, modality] = 0
    return model


@pytest.mark.parametrize("name", sorted({*METHODS} - {"gradcam", "lime", "kernel_shap", "feature_permutation"}))
@pytest.mark.parametrize("dims", [2, 3])
def test_an_unused_modality_gets_exactly_nothing(name: str, dims: int):
    found = explain(name, blind(2, dims=dims), images(1, 4, *[8] * dims), batch_size=1)
    assert (found[:, 2] == 0).all()
    assert (found[:, 1] != 0).any()


@pytest.mark.parametrize("name", ["lime", "kernel_shap"])
def test_an_unused_modality_gets_nothing_within_the_error(name: str):
    found, error = explain(name, blind(2), images(1, 4, 8, 8), n_samples=200, return_error=True)
    assert (found[:, 2].abs() <= 3 * error[:, 2] + 1e-12).all()
    x = images(1, 3, 8, 8)
    more = {"kernel_width": math.inf} if name == "lime" else {}   # else its weights tie the features to each other
    exact = explain(name, blind(2, modalities=3), x, feature_mask=grid(x, side=4), sampling="exact", **more)
    assert exact[:, 2].abs().max() < 1e-10 * exact.abs().max()


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("form", FORMS[1:])
def test_the_way_a_relu_is_written_does_not_matter(name: str, form: str):
    modules, other, x = ready(Classifier()), ready(Classifier(form=form)), images(2, 4, 8, 8)
    other.load_state_dict(modules.state_dict())
    close(explain(name, other, x), explain(name, modules, x))


@pytest.mark.parametrize("name", sorted({*METHODS} - {"smoothgrad", "gradient_shap", "feature_permutation"}))
def test_permuted_modalities_give_permuted_maps(name: str):
    order = torch.tensor([2, 0, 1])
    model, x = ready(Classifier(modalities=3)), images(2, 3, 8, 8)
    permuted = copy.deepcopy(model)
    with torch.no_grad(): permuted.first.weight.copy_(model.first.weight[:, order])
    more: dict[str, Any] = {"sampling": "exact"} if "sampling" in METHODS[name].options else {}
    if name == "occlusion": more["baseline"] = 0.0
    if name == "kernel_shap": more["feature_mask"] = grid(x, side=4)
    close(explain(name, permuted, x[:, order], **more), explain(name, model, x, **more)[:, order], 1e-9)


@every
@pytest.mark.parametrize("dims", [2, 3])
def test_heat_stays_in_its_corner(name: str, dims: int):
    """A network that sees one corner of one modality is explained by that corner, and not by its mirror image."""
    corner = (slice(0, 4), slice(4, 8), slice(0, 4))[:dims]

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 2, 1), nn.ReLU()
            self.head = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            window = torch.zeros(x.shape[2:], dtype=x.dtype)
            window[corner] = 1
            return self.head(self.relu(self.conv(x[:, 1:2] * window)).flatten(2).mean(2))

    model, x = ready(Corner()), images(2, 3, *[8] * dims).abs() + 1
    with torch.no_grad():
        for weight in model.parameters(): weight.abs_()   # so that no ReLU is closed
    more = {"background": images(5, 3, *[8] * dims, seed=1)} if name == "feature_permutation" else {}
    heat = explain(name, model, x, **more).abs()
    in_corner, in_modality = heat[(slice(None), slice(None), *corner)].sum() / heat.sum(), heat[:, 1].sum() / heat.sum()
    random_share = 0.5**dims
    assert in_corner > (2 * random_share if name in ("gradcam", "lime", "kernel_shap", "occlusion") else 0.999)
    if METHODS[name].modality_specific: assert in_modality > (0.6 if name == "lime" else 0.999)


@every
def test_nothing_is_left_behind(name: str):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    before, pixels, random = copy.deepcopy(model.state_dict()), x.clone(), torch.get_rng_state()
    explain(name, model, x)
    with pytest.raises(MedxaiError): explain(name, model, x, ClassTarget(9))
    assert torch.equal(x, pixels)
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    for layer in model.modules():
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks
        assert not layer._backward_hooks
        assert not layer.training


@every
def test_what_surrounds_the_call_does_not_change_the_map(name: str):
    model, x = ready(Classifier()).float(), images(2, 4, 8, 8).float()
    expected = explain(name, model, x)
    with torch.autocast("cpu", torch.bfloat16): close(explain(name, model, x), expected)
    with torch.inference_mode(): close(explain(name, model, x), expected)
    with torch.no_grad(): close(explain(name, model, x.requires_grad_()), expected)


@every
def test_a_branch_that_is_written_into_does_not_change_another(name: str):
    class InPlace(Branches):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            seen = self.left(left)
            torch.relu_(right)
            return self.head(torch.cat([self.relu(part).mean((2, 3)) for part in (seen, self.right(right))], 1))

    class OutOfPlace(Branches):
        def forward(self, left: Tensor, right: Tensor) -> Tensor: return super().forward(left, torch.relu(right))

    x = images(2, 3, 8, 8), images(2, 1, 4, 12, seed=1)
    more = {"layer": "left"} if "gradcam" in name else {}
    for found, expected in zip(*(explain(name, ready(model), x, **more) for model in (InPlace(), OutOfPlace()))):
        close(found, expected)


BAD = {
    "one dimension short": (lambda x: x[0], {}, ShapeError, r"x: found \(4, 8, 8\).* A single case needs an axis in front"),
    "an array": (lambda x: x.numpy(), {}, DtypeError, "x: found ndarray.* torch.as_tensor makes one of an array"),
    "a list of cases": (lambda x: list(x), {}, ShapeError, r"x\[0\]: found \(4, 8, 8\)"),
    "NaN": (lambda x: x.index_fill(2, torch.tensor(3), torch.nan), {}, ContentError, "x: found 64 voxels that are NaN"),
    "infinite": (lambda x: x / 0, {}, ContentError, "voxels that are NaN or infinite"),
    "bytes": (lambda x: x.byte(), {}, DtypeError, "x: found torch.uint8"),
    "class by name": (lambda x: x, {"target": ClassTarget([1, "lesion"])}, DtypeError, r"label: found \[1, 'lesion'\]"),
    "class out of range": (lambda x: x, {"target": ClassTarget(3)}, OptionError, "label: found 3, expected from 0 to 2"),
    "segment of a classifier": (lambda x: x, {"target": SegmentTarget(1)}, ShapeError, "use ClassTarget"),
    "unknown option": (lambda x: x, {"n_sample": 3}, OptionError, "option of .*: found 'n_sample'"),
    "batch size": (lambda x: x, {"batch_size": 0}, OptionError, "batch_size: found 0, expected a whole number, at least 1"),
}


@every
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_named(name: str, bad: str):
    change, more, error, message = BAD[bad]
    x = images(2, 4, 8, 8)
    with pytest.raises(error, match=message):
        attribute(ready(Classifier()), change(x), **{"target": ClassTarget(1), "method": name, "progress": False} | more)


@pytest.mark.parametrize("name", [*RECTIFIERS, "deeplift"])
def test_a_backward_hook_is_refused_by_name(name: str):
    model, x = ready(Classifier()), images(1, 4, 8, 8)
    left_behind = model.act_1.register_full_backward_hook(lambda layer, inwards, outwards: None)
    with pytest.raises(OptionError, match=r"found a backward hook on act_1 \(ReLU\), expected none"): explain(name, model, x)
    left_behind.remove()
    assert explain(name, model, x).isfinite().all()


class Greater(nn.Module):
    """The greater of two halves of the channels, in one of two ways."""

    def __init__(self, written: bool) -> None:
        super().__init__()
        self.conv, self.head, self.written = nn.Conv2d(4, 6, 3), nn.Linear(3, 3), written

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv(x).chunk(2, 1)
        return self.head((a + torch.relu(b - a) if self.written else torch.max(a, b)).mean((2, 3)))


@pytest.mark.parametrize("name", [*RECTIFIERS, "deeplift"])
def test_what_an_error_says_to_write_instead_works(name: str):
    x = images(1, 4, 8, 8)
    with pytest.raises(OptionError, match=r"found maximum in the model \(Greater\), .* Write a \+ relu\(b - a\)"):
        explain(name, ready(Greater(written=False)), x)
    assert explain(name, ready(Greater(written=True)), x).abs().sum() > 0


@every
def test_one_axis_of_space_has_no_target(name: str):
    model, x = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(2)).double(), images(1, 4, 8, 8)
    for target in (ClassTarget(1), SegmentTarget(1)):
        with pytest.raises(ShapeError, match=r"found \(1, 3, 36\).* No target fits these"): explain(name, model, x, target)


@every
def test_a_model_in_training_mode_is_refused(name: str):
    model = nn.Sequential(nn.Conv2d(4, 2, 3), nn.Dropout(), nn.Flatten(), nn.Linear(72, 2)).double()
    with pytest.raises(OptionError, match=r"model: found 1 \(Dropout\) in training mode"):
        explain(name, model, images(1, 4, 8, 8))


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_bad_features_are_named(name: str):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    blocks = grid(x, side=4)
    with pytest.raises(DtypeError, match="feature_mask"): explain(name, model, x, feature_mask=blocks.double())
    with pytest.raises(ShapeError, match="feature_mask"): explain(name, model, x, feature_mask=blocks[..., :7])
    with pytest.raises(ContentError, match="feature_mask: found no feature"):
        explain(name, model, x, feature_mask=blocks * 0 - 1)


@pytest.mark.parametrize("name", BASELINES)
def test_bad_baselines_are_named(name: str):
    model, x = ready(Classifier()), images(2, 4, 8, 8)
    with pytest.raises(OptionError, match=r"baseline: found 'men'.*Did you mean 'mean'"): explain(name, model, x, baseline="men")
    with pytest.raises(ShapeError, match="baseline"): explain(name, model, x, baseline=x[:, :2])


@pytest.mark.parametrize("name", RECTIFIERS)
@pytest.mark.parametrize("activation", sorted({*ACTIVATIONS} - {"relu"}))
def test_a_network_without_relu_is_refused_by_name(name: str, activation: str):
    with pytest.raises(MedxaiError, match=rf"(?i){activation.replace('_', '')}|{activation}"):
        explain(name, ready(Classifier(activation=activation)), images(1, 4, 8, 8))


architectures = st.fixed_dictionaries({
    "modalities": st.integers(1, 5), "dims": st.sampled_from([2, 3]), "activation": st.sampled_from(sorted(ACTIVATIONS)),
    "normalisation": st.sampled_from(["none", "batch", "instance", "group"]),
    "pooling": st.sampled_from(["none", "max", "average"])})


@settings(deadline=None, max_examples=40)
@given(architectures, st.integers(0, 99), st.sampled_from([0.0, "mean", "noise"]))
def test_deeplift_is_complete_on_random_networks(architecture: dict[str, Any], seed: int, baseline: Any):
    x = images(2, architecture["modalities"], *[6] * architecture["dims"], seed=seed)
    model = ready(Classifier(**architecture), seed)
    found, gap = explain("deeplift", model, x, baseline=baseline, return_error=True)
    assert found.isfinite().all()
    assert gap.abs().max() < 1e-9


@settings(deadline=None, max_examples=40)
@given(architectures, st.integers(0, 99), st.sampled_from(sorted({*METHODS} - {*RECTIFIERS})))
def test_maps_of_random_networks_do_not_depend_on_the_batch(architecture: dict[str, Any], seed: int, name: str):
    x = images(2, architecture["modalities"], *[6] * architecture["dims"], seed=seed)
    model = ready(Classifier(**architecture), seed)
    together = explain(name, model, x, batch_size=3)
    assert together.shape == x.shape
    assert together.isfinite().all()
    close(torch.cat([explain(name, model, x[i:i + 1], batch_size=5) for i in range(2)]), together, 1e-8)
