"""The contract that metrics of explanations have to fulfil, on maps made by hand and on networks whose truth is known."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from networks import Branches, images, ready
from torch import Tensor

from medxai.explanation import METHODS, ClassTarget, attribute, grid
from medxai.explanation.importance import (
    importance_of,
    measure_importance,
    modality_importance_correlation,
    shapley_values,
    subset_outputs,
    top_modality_agreement,
)
from medxai.explanation.localisation import feature_portion, intersection_over_union, msfi
from medxai.explanation.planted import PlantedNetwork, planted_importance, read_voxels

pytestmark = pytest.mark.battery

PHI = [0.4, 0.3, 0.2, 0.0]
METRICS = {
    "feature_portion": feature_portion, "intersection_over_union": intersection_over_union,
    "msfi": lambda maps, masks: msfi(maps, masks, PHI),
    "msfi min-max": lambda maps, masks: msfi(maps, masks, PHI, weights="min-max"),
    "msfi dilated": lambda maps, masks: msfi(maps, masks, PHI, dilation=3),
    "correlation": lambda maps, masks: modality_importance_correlation(maps, PHI),
    "top": lambda maps, masks: top_modality_agreement(maps, PHI)}
SHARES = ["feature_portion", "msfi", "msfi min-max"]   # shares of the heat, which is a fraction of the area for an even map
LOCAL = [*SHARES, "intersection_over_union"]
every = pytest.mark.parametrize("name", METRICS)
both = pytest.mark.parametrize("dims", [2, 3])


def lesion(dims: int, n: int = 1) -> Tensor:
    """(n, 8, 8[, 8]) with a box in a corner of its own."""
    mask = torch.zeros(n, *[8] * dims)
    mask[(slice(None), slice(1, 4), slice(2, 6), slice(0, 5))[:dims + 1]] = 1
    return mask


@pytest.mark.parametrize("name", LOCAL)
@both
def test_the_perfect_map_has_one_and_its_complement_none(name: str, dims: int):
    mask = lesion(dims)
    perfect = mask[:, None].expand(1, 4, *mask.shape[1:])
    assert METRICS[name](perfect, mask) == 1
    assert METRICS[name](1 - perfect, mask) == 0
    if name.startswith("msfi"):
        unimportant = perfect * torch.tensor([1.0, 1, 1, 0]).view(4, *[1] * dims)
        assert METRICS[name](unimportant, mask) == 1


@pytest.mark.parametrize("name", SHARES)
@both
def test_an_even_map_and_a_random_one_have_the_share_of_the_area(name: str, dims: int):
    mask = lesion(dims, 200)
    area = mask[0].mean().double()
    even = torch.ones(200, 4, *mask.shape[1:])
    torch.testing.assert_close(METRICS[name](even, mask), area.expand(200))
    found = METRICS[name](images(*even.shape), mask)
    assert (found.mean() - area).abs() < 4 * found.std() / 200**0.5


@every
def test_what_is_not_defined_is_nan_and_stops_no_other_case(name: str):
    mask = lesion(2, 3)
    maps = images(3, 4, 8, 8)
    maps[1] = -maps[1].abs()
    mask[2] = 0
    found = METRICS[name](maps, mask)
    assert found.isnan().tolist() == [False, True, name not in ("correlation", "top")]
    torch.testing.assert_close(found[:1], METRICS[name](maps[:1], mask[:1]))


@pytest.mark.parametrize(("phi", "weights", "defined"), [
    ([0.2, 0.2, 0.2, 0.2], "positive", True), ([0.2, 0.2, 0.2, 0.2], "min-max", False),
    ([-0.1, 0.0, -0.2, 0.0], "positive", False), ([-0.1, 0.0, -0.2, 0.0], "min-max", True)])
def test_equal_importance_and_none_that_is_positive(phi: list[float], weights: str, defined: bool):
    maps, mask = images(1, 4, 8, 8), lesion(2)
    found = msfi(maps, mask, phi, weights=weights)
    assert found.isfinite() == defined
    shares = torch.stack([feature_portion(maps[:, [m]], mask) for m in range(4)])[:, 0]
    if phi[0] == phi[1] and defined: torch.testing.assert_close(found[0], shares.mean())


def test_a_modality_without_heat_costs_its_weight():
    maps, mask = lesion(2)[:, None].repeat(1, 4, 1, 1), lesion(2)
    maps[:, 1] *= -1
    torch.testing.assert_close(msfi(maps, mask, PHI), torch.tensor([(0.4 + 0.2) / 0.9]).double())


@pytest.mark.parametrize("m", range(4))
def test_with_one_important_modality_msfi_is_its_feature_portion(m: int):
    maps, mask = images(3, 4, 8, 8), lesion(2, 3)
    one_hot = [float(k == m) for k in range(4)]
    for weights in ("positive", "min-max"):
        torch.testing.assert_close(msfi(maps, mask, one_hot, weights=weights), feature_portion(maps[:, [m]], mask))


@every
@both
def test_cases_together_equal_one_by_one_and_float32_agrees(name: str, dims: int):
    maps, mask = images(3, 4, *[8] * dims), lesion(dims, 3)
    found = METRICS[name](maps, mask)
    assert found.shape == (3,)
    assert found.dtype == torch.float64
    torch.testing.assert_close(torch.cat([METRICS[name](maps[i:i + 1], mask[i:i + 1]) for i in range(3)]), found)
    torch.testing.assert_close(METRICS[name](maps.float(), mask.bool()), found, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(METRICS[name]((maps[:, :1], maps[:, 1:]), mask), found)


@every
def test_what_goes_in_stays_as_it_is(name: str):
    maps, mask = images(2, 4, 8, 8), lesion(2, 2)
    before = maps.clone(), mask.clone()
    METRICS[name](maps.requires_grad_(), mask)
    assert torch.equal(maps, before[0])
    assert torch.equal(mask, before[1])


# Planted networks

def planted(dims: int = 2, **options: Any) -> PlantedNetwork:
    """Reads modalities 0, 1 and 3, the last one most, in a box."""
    box = lesion(dims)[0].bool()
    return PlantedNetwork([0.5, 1.0, 0.0, 2.0], **{"region": box, "dims": dims, "dtype": torch.float64} | options)


def whole_modalities(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1]).view(1, -1, *[1] * (x.ndim - 2)).expand(1, *x.shape[1:])


def sums(name: str, network: PlantedNetwork, x: Tensor) -> Tensor:
    """(N, M) what a complete method gives to each modality."""
    exact = {"feature_mask": whole_modalities(x), "sampling": "exact"} if name != "deeplift" else {}
    maps = attribute(network, x, ClassTarget(1), method=name, progress=False, **exact)
    return maps.flatten(2).sum(2) if name == "deeplift" else maps.flatten(2)[..., 0]


COMPLETE = [name for name, method in METHODS.items() if method.complete]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("combine", ["sum", "and", "or"])
@both
def test_each_method_explains_each_planted_network(name: str, combine: str, dims: int):
    x = images(2, 4, *[8] * dims).abs()
    family = METHODS[name].options
    more: dict[str, Any] = {"feature_mask": grid(x, side=4)} if "feature_mask" in family else {}
    if "n_samples" in family: more["n_samples"] = 70 if name in ("lime", "kernel_shap") else 2
    if name == "occlusion": more |= {"window": 3, "stride": 2}
    network = planted(dims, combine=combine, side=3)
    found = attribute(network, x, ClassTarget(1), method=name, progress=False, batch_size=64, **more)
    assert found.shape == x.shape
    assert found.isfinite().all()


@pytest.mark.parametrize("name", sorted({*METHODS} - {"gradcam", "lime", "kernel_shap", "feature_permutation"}))
@pytest.mark.parametrize("combine", ["sum", "and", "or"])
def test_a_modality_that_is_not_read_gets_exactly_nothing(name: str, combine: str):
    x = images(1, 4, 8, 8).abs()
    more: dict[str, Any] = {"feature_mask": grid(x, side=4)} if "feature_mask" in METHODS[name].options else {}
    found = attribute(planted(combine=combine, side=3), x, ClassTarget(1), method=name, progress=False, batch_size=1, **more)
    assert not found[:, 2].any()
    assert found.any()
    if METHODS[name].family == "gradient": assert not found[~read_voxels(planted(side=3), (8, 8))[None]].any()


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("threshold", [0.3, None])
@both
def test_complete_methods_recover_the_importance_of_additive_networks(name: str, threshold: float | None, dims: int):
    network, x = planted(dims, side=3, threshold=threshold), images(2, 4, *[8] * dims)
    truth = planted_importance(network, x)
    found = sums(name, network, x)
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-12)
    maps = found[..., None, None].expand(-1, -1, 2, 2)
    torch.testing.assert_close(modality_importance_correlation(maps, truth.clamp(min=0)), torch.ones(2).double())
    assert (top_modality_agreement(maps, truth) == 1).all()


@both
def test_integrated_gradients_recover_it_up_to_their_gap(dims: int):
    network, x = planted(dims, threshold=None), images(2, 4, *[8] * dims)
    maps, gap = attribute(network, x, ClassTarget(1), method="integrated_gradients", progress=False, return_error=True)
    assert gap.abs().max() < 1e-12
    torch.testing.assert_close(maps.flatten(2).sum(2), planted_importance(network, x))


@pytest.mark.parametrize("name", ["shapley_value_sampling", "kernel_shap"])
@pytest.mark.parametrize("combine", ["and", "or"])
def test_exact_shapley_methods_recover_it_where_modalities_interact(name: str, combine: str):
    network, x = planted(combine=combine), images(2, 4, 8, 8)
    torch.testing.assert_close(sums(name, network, x), planted_importance(network, x), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("combine", ["sum", "and", "or"])
@both
def test_modality_shapley_of_the_score_is_the_closed_form(combine: str, dims: int):
    network, x = planted(dims, combine=combine, side=3, cut=0.1), images(3, 4, *[8] * dims)
    outputs, _ = subset_outputs(network, (x, torch.zeros(3).long()))
    torch.testing.assert_close(shapley_values(outputs[..., 1]), planted_importance(network, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", ["accuracy", "auc", "probability"])
@pytest.mark.parametrize("absent", ["zero", "mean", "lesion"])
def test_importance_is_efficient_and_gives_nothing_to_a_dummy(value: str, absent: str):
    network, x = planted(cut=1.2), images(12, 4, 8, 8).abs()
    cases = x, torch.arange(12) % 2, lesion(2, 12)
    found = measure_importance(network, cases, value=value, absent=absent, batch_size=5)
    torch.testing.assert_close(found.phi.sum(), found.values[-1] - found.values[0])
    assert found.phi[2].abs() < 1e-12
    streamed = measure_importance(network, zip(*cases), value=value, absent=absent, batch_size=1)
    torch.testing.assert_close(streamed.phi, found.phi)


def test_importance_does_not_depend_on_the_batch_or_on_single_precision():
    x, labels = (images(5, 3, 8, 8), images(5, 1, 4, 12)), torch.tensor([0, 1, 1, 0, 1])
    outputs, _ = subset_outputs(ready(Branches()), (x, labels), batch_size=3)
    again, _ = subset_outputs(ready(Branches()), (x, labels), batch_size=64)
    torch.testing.assert_close(again, outputs, rtol=1e-12, atol=1e-12)
    single, _ = subset_outputs(ready(Branches()).float(), (tuple(part.float() for part in x), labels))
    torch.testing.assert_close(single, outputs, rtol=1e-4, atol=1e-5)
    found = importance_of(outputs, labels, "probability")
    torch.testing.assert_close(found.cases.mean(0), found.phi)


def test_maps_are_judged_by_what_the_network_reads():
    """The truth as a map: heat where the network reads, in proportion to importance."""
    network, x = planted(side=3), images(2, 4, 8, 8).abs() + 0.1
    phi, read = planted_importance(network, x).clamp(min=0), read_voxels(network, (8, 8))
    truth = read * phi[..., None, None]
    assert (msfi(truth, read.any(0).expand(2, 8, 8), phi) == 1).all()
    assert (msfi(truth, read[None].expand(2, 4, 8, 8), phi) == 1).all()
    assert (modality_importance_correlation(truth, phi) == 1).all()
    wrong = truth.roll(1, 1)
    assert (top_modality_agreement(wrong, phi) == 0).all()
    assert (msfi(wrong, read[None].expand(2, 4, 8, 8), phi) < 1).all()
