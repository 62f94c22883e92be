"""How near the perturbation methods of paper 2 come to the cost of their forward passes, and how far ahead of captum."""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import captum.attr
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from torch import Tensor, nn

from medxai.core.device import choose_device
from medxai.explanation import METHODS, ClassTarget, attribute, grid

REPEATS = 3
BATCHES = (2, 4, 8)   # of which captum is given its best
PERTURBATIONS = tuple(name for name, method in METHODS.items() if method.family == "perturbation")


def paper_network(width: int, side: int) -> nn.Module:
    """Paper 2's 3D classifier, `width` channels in its first block: six blocks of convolution and pooling, two linear layers."""
    layers: list[nn.Module] = []
    widths, convolutions = [4, *(width * factor for factor in (1, 2, 4, 8, 8, 8))], (1, 2, 2, 2, 2, 2)
    for before, after, n in zip(widths, widths[1:], convolutions):
        for start in [before, after][:n]: layers += [nn.Conv3d(start, after, 3, padding=1), nn.BatchNorm3d(after), nn.ReLU()]
        layers.append(nn.MaxPool3d(2))
    flat = 8 * width * (side // 64) ** 3
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 4 * flat), nn.ReLU(), nn.Linear(4 * flat, 2)).eval()


def strided_network() -> nn.Module:
    """Next to no work for each voxel: three convolutions of stride 2, so that the perturbing shows."""
    layers: list[nn.Module] = []
    for before, after in ((4, 8), (8, 16), (16, 32)):
        layers += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.BatchNorm3d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 2)).eval()


def networks(device: torch.device) -> dict[str, tuple[nn.Module, Tensor]]:
    """Networks by name, each with a volume: the paper's size on a GPU, a quarter of the width and half the side on a CPU."""
    side, width = (128, 16) if device.type == "cuda" else (64, 4)
    return {name: (network.to(device), torch.randn(1, 4, side, side, side, device=device))
            for name, network in (("paper's", paper_network(width, side)), ("strided", strided_network()))}


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Of one call, the device's queue included."""
    if device.type == "cuda": torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    if device.type == "cuda": torch.cuda.synchronize()
    return time.perf_counter() - started


class Counted(nn.Module):
    """A network that counts the images that it has seen."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return self.network(x)


def settings(name: str, x: Tensor) -> dict[str, Any]:
    """Of a method on volumes: blocks as features, and fewer samples than the paper's, at the same cost for each."""
    side = x.shape[-1] // 4
    found: dict[str, Any] = {"feature_mask": grid(x, side=side, shared=name in ("kernel_shap", "feature_permutation"))}
    if name == "occlusion": return {"window": side, "stride": side}
    if name == "shapley_value_sampling": found["n_samples"] = 1
    if name in ("lime", "kernel_shap"): found["n_samples"] = 300
    return found


def benchmark_efficiency() -> list[dict[str, Any]]:
    """Forward passes × time of one in a batch, over the time of the method; 1 is the limit."""
    device = choose_device()
    return [efficiency(name, kind, network, x, device)
            for kind, (network, x) in networks(device).items() for name in PERTURBATIONS]


def efficiency(name: str, kind: str, network: nn.Module, x: Tensor, device: torch.device) -> dict[str, Any]:
    """Method and bare forward passes in turn."""
    model, batch = Counted(network), 8
    stacked = x.expand(batch, -1, -1, -1, -1).contiguous()

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(4): network(stacked)

    def explain() -> Tensor:
        return attribute(model, x, ClassTarget(1), method=name, batch_size=batch, progress=False, **settings(name, x))

    forward(), explain()
    model.images = 0
    explain()
    passes, pairs = model.images, [(seconds(forward, device) / 4, seconds(explain, device)) for _ in range(REPEATS)]
    return {"method": name, "network": kind, "side": x.shape[-1], "forwards": passes,
            "milliseconds_per_forward": round(1000 / batch * statistics.median(pair[0] for pair in pairs), 2),
            "seconds": round(statistics.median(pair[1] for pair in pairs), 2),
            "efficiency": round(statistics.median(passes / batch * one / whole for one, whole in pairs), 2)}


def benchmark_against_captum() -> list[dict[str, Any]]:
    """Time of captum, at its best number of perturbations per pass, over ours, for the same number of samples."""
    device = choose_device()
    return [compared(name, kind, network, x, device) for kind, (network, x) in networks(device).items()
            for name in ("kernel_shap", "shapley_value_sampling", "lime")]


def captums(name: str, model: nn.Module) -> Any:
    """captum's explainer of a method."""
    if name == "lime": return captum.attr.Lime(model, interpretable_model=SkLearnLinearRegression())
    return {"kernel_shap": captum.attr.KernelShap, "shapley_value_sampling": captum.attr.ShapleyValueSampling}[name](model)


def compared(name: str, kind: str, model: nn.Module, x: Tensor, device: torch.device) -> dict[str, Any]:
    """Both libraries in turn, with the same features and number of samples."""
    ours = settings(name, x) | {"n_samples": 1 if name == "shapley_value_sampling" else 100}
    peer = captums(name, model)

    def explain() -> Tensor: return attribute(model, x, ClassTarget(1), method=name, progress=False, **ours)

    def explain_by_captum(per_pass: int) -> Tensor:
        with torch.no_grad(): return peer.attribute(x, target=1, perturbations_per_eval=per_pass, **ours)

    explain()
    times = {n: seconds(partial(explain_by_captum, n), device) for n in BATCHES}
    best = min(times, key=times.__getitem__)
    pairs = [(seconds(lambda: explain_by_captum(best), device), seconds(explain, device)) for _ in range(REPEATS)]
    return {"method": name, "network": kind, "side": x.shape[-1], "samples": ours["n_samples"],
            "features": int(ours["feature_mask"].max()) + 1,
            "captum_perturbations_per_eval": best, "captum_seconds": round(statistics.median(pair[0] for pair in pairs), 2),
            "seconds": round(statistics.median(pair[1] for pair in pairs), 2),
            "times_as_fast": round(statistics.median(theirs / mine for theirs, mine in pairs), 1)}


def benchmark_sixteen() -> list[dict[str, Any]]:
    """Seconds for a map with the defaults, those of the paper, and its network."""
    device = choose_device()
    model, x = networks(device)["paper's"]
    return [sixteenth(name, model, x, device) for name in METHODS]


def sixteenth(name: str, model: nn.Module, x: Tensor, device: torch.device) -> dict[str, Any]:
    """One of the sixteen, timed once; on a GPU after a first run, but for occlusion, which is the longest."""
    explain = partial(attribute, model, x, ClassTarget(1), method=name, progress=False)
    if device.type == "cuda" and name != "occlusion": explain()
    return {"method": name, "side": x.shape[-1], "seconds": round(seconds(explain, device), 2)}
