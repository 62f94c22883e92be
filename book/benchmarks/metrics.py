"""How fast the metrics of paper 2 are beside those of Quantus that compute the same, and what Quantus cannot take.

Quantus is not among the requirements of medxai: `pip install quantus` into the environment, or the benchmarks are passed over.
"""
from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medxai.core.device import choose_device
from medxai.explanation import ClassTarget, attribute
from medxai.explanation.curves import case_curves
from medxai.explanation.metrics import feature_portion, parameter_sensitivity
from medxai.explanation.removal import remove_voxels

REPEATS = 3
STEPS, RANDOM_MAPS = 8, 4   # Quantus asks for steps of a size that divides the number of voxels of a modality
IMAGES = {"slices": (16, 4, 96, 96), "volumes": (8, 4, 32, 32, 32)}
QUIET: dict[str, Any] = {"disable_warnings": True, "normalise": False, "abs": False}


def network(dimensions: int) -> nn.Module:
    """Next to no work for each voxel: three convolutions of stride 2, so that the metric shows and not the network."""
    Convolution, Pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if dimensions == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    layers: list[nn.Module] = []
    for before, after in ((4, 8), (8, 16), (16, 32)): layers += [Convolution(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, Pool(1), nn.Flatten(), nn.Linear(32, 2)).eval()


def setting(kind: str) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network, images, maps without zeros or ties, and masks."""
    torch.manual_seed(0)
    shape, device = IMAGES[kind], choose_device()
    maps = (torch.randperm(int(np.prod(shape))).view(shape) + 1.0) / np.prod(shape)
    masks = torch.zeros(shape[0], *shape[2:], dtype=torch.bool)
    masks[..., shape[-1] // 4:shape[-1] // 2] = True
    return network(len(shape) - 2).to(device), torch.randn(shape, device=device), maps.to(device), masks.to(device)


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Of one call, the device's queue included, and what it returned."""
    if torch.cuda.is_available(): torch.cuda.synchronize()
    started = time.perf_counter()
    found = function()
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return time.perf_counter() - started, found


def side_by_side(metric: str, theirs: str, kind: str, ours: Callable[[], Any], quantus: Callable[[], Any], *,
                 comparable: bool = True) -> dict[str, Any]:
    """Both in turn; `comparable` where the values should be the same."""
    ours(), quantus()
    pairs = [(seconds(quantus), seconds(ours)) for _ in range(REPEATS)]
    row = {"metric": metric, "quantus_metric": theirs, "images": kind, "shape": list(IMAGES[kind]), "quantus": version("quantus"),
           "quantus_seconds": round(statistics.median(pair[0][0] for pair in pairs), 3),
           "seconds": round(statistics.median(pair[1][0] for pair in pairs), 3),
           "times_as_fast": round(statistics.median(pair[0][0] / pair[1][0] for pair in pairs), 1)}
    if comparable:
        (_, a), (_, b) = pairs[0]
        row["largest_difference"] = float(f"{np.abs(np.asarray(a) - np.asarray(b)).max():.1e}")
    return row


def portion(kind: str) -> dict[str, Any]:
    """Feature portion is relevance mass accuracy, once the modalities stand behind each other along the first axis of space."""
    from quantus import RelevanceMassAccuracy
    model, x, maps, masks = setting(kind)
    one = lambda images: images.flatten(1, 2)[:, None].cpu().numpy()
    told = {"x_batch": one(x), "a_batch": one(maps), "s_batch": one(masks[:, None].expand_as(maps)),
            "y_batch": np.ones(len(x), dtype=int), "channel_first": True}
    return side_by_side("feature_portion", "RelevanceMassAccuracy", kind, lambda: feature_portion(maps, masks).cpu().numpy(),
                        lambda: RelevanceMassAccuracy(**QUIET)(model=model, batch_size=len(x), **told))


def curves(kind: str) -> dict[str, Any]:
    """Perturbation curves of a map and of random maps are pixel flipping, asked once for each of these maps."""
    from quantus import PixelFlipping
    model, x, maps, _ = setting(kind)
    explained, draw = model(x).argmax(1), torch.Generator().manual_seed(0)
    random = [maps.flatten(1)[:, torch.randperm(maps[0].numel(), generator=draw).to(maps.device)].view_as(maps)
              for _ in range(RANDOM_MAPS)]

    def ours() -> NDArray[Any]:
        removals = remove_voxels(model, x, maps, n_steps=STEPS, n_random=RANDOM_MAPS, batch_size=32, progress=False)
        return case_curves(removals, explained).curve[:, 1:].numpy()

    def theirs() -> Any:
        flipping = PixelFlipping(features_in_step=maps[0].numel() // STEPS, perturb_baseline=0.0, **QUIET)
        told = {"model": model, "x_batch": x.cpu().numpy(), "y_batch": explained.cpu().numpy(), "channel_first": True,
                "softmax": True, "batch_size": 32, "device": str(x.device)}
        found, *_ = [flipping(a_batch=of.cpu().numpy(), **told) for of in (maps, *random)]
        return found

    return side_by_side("delta_aupc_probability", "PixelFlipping", kind, ours, theirs)


def forgetting(kind: str) -> dict[str, Any]:
    """Both randomise all layers and compare maps by ranks; the maps are ours for both. They randomise in other ways."""
    from quantus import MPRT
    model, x, _, _ = setting(kind)
    classes = torch.ones(len(x), dtype=torch.int64, device=x.device)

    def explain(model: nn.Module, inputs: NDArray[Any], targets: Any, **options: Any) -> NDArray[Any]:
        return attribute(model, torch.as_tensor(inputs, device=x.device), ClassTarget(1), method="gradient").cpu().numpy()

    def theirs() -> Any:
        test = MPRT(skip_layers=True, return_last_correlation=True, layer_order="top_down", **QUIET)
        return test(model=model, x_batch=x.cpu().numpy(), y_batch=classes.cpu().numpy(), channel_first=True, explain_func=explain,
                    batch_size=len(x), device=str(x.device))

    ours = partial(parameter_sensitivity, model, x, ClassTarget(1), method="gradient")
    return side_by_side("parameter_sensitivity", "MPRT", kind, lambda: ours().cpu().numpy(), theirs, comparable=False)


def against_quantus() -> list[dict[str, Any]]:
    """Time of Quantus over ours, for the same cases."""
    warnings.simplefilter("ignore")
    return [measure(kind) for kind in IMAGES for measure in (portion, curves, forgetting)]


def what_quantus_takes() -> dict[str, str]:
    """"runs" or what Quantus says, by what it was given."""
    warnings.simplefilter("ignore")
    return {f"{name}, {kind}": answer(run) for kind in IMAGES for name, run in tries(kind).items()}


def tries(kind: str) -> dict[str, Callable[[], Any]]:
    """Calls of Quantus on images of four modalities, by what they are given."""
    from quantus import PixelFlipping, RelevanceMassAccuracy
    model, x, maps, masks = (thing.cpu() for thing in setting(kind))
    images, a, mask, y = x.numpy(), maps.numpy(), masks[:, None].numpy(), np.ones(len(x), dtype=int)
    flip, odd = (PixelFlipping(features_in_step=-(-a[0].size // n_steps), **QUIET) for n_steps in (STEPS, 10))
    mass, told = RelevanceMassAccuracy(**QUIET), {"model": model, "y_batch": y}
    return {"PixelFlipping": lambda: flip(x_batch=images, a_batch=a, **told),
            "PixelFlipping, told where the channels are": lambda: flip(x_batch=images, a_batch=a, channel_first=True, **told),
            "PixelFlipping, ten steps": lambda: odd(x_batch=images, a_batch=a, channel_first=True, **told),
            "PixelFlipping, a tensor for each branch": lambda: flip(x_batch=(images, images), a_batch=(a, a), **told),
            "RelevanceMassAccuracy, one mask for all modalities": lambda: mass(
                x_batch=images, a_batch=a, s_batch=mask, channel_first=True, **told),
            "RelevanceMassAccuracy, a mask for each": lambda: mass(
                x_batch=images, a_batch=a, s_batch=np.broadcast_to(mask, a.shape), channel_first=True, **told)}


def answer(run: Callable[[], Any]) -> str:
    """"runs", or the error."""
    try: run()
    except (AssertionError, ValueError) as error: return " ".join(str(error).split())
    return "runs"


if find_spec("quantus"):
    benchmark_against_quantus, benchmark_what_quantus_takes = against_quantus, what_quantus_takes
else:
    print("metrics: passed over, for Quantus is not installed (pip install quantus).", file=sys.stderr)
