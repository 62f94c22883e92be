"""What influence costs beside a forward pass, beside captum, and on a million images."""
from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.influence import TracInCP
from torch import Tensor, nn

from medxai.core.device import choose_device
from medxai.influence import SegmentationTracIn, tumour_unet
from medxai.influence.residuals import losses_per_class

REPEATS = 5
WIDTH, SIDE, N_TRAIN, N_TEST = 16, 96, 96, 16
N_SLICES, N_NUMBERS, N_CHECKPOINTS = 10**6, 64 * 4 * 3, 1   # three classes of a head from 64 kernels to 4 logits


def setting(n_train: int = N_TRAIN, n_test: int = N_TEST, side: int = SIDE) -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]:
    """Paper 3's network, images and masks of training and test; all classes are in every mask."""
    torch.manual_seed(0)
    device = choose_device()
    images = torch.randn(n_train + n_test, 4, side, side, device=device)
    masks = torch.randint(0, 4, (n_train + n_test, side, side), device=device)
    network = tumour_unet(width=WIDTH).to(device).eval()
    return network, images[:n_train], masks[:n_train], images[n_train:], masks[n_train:]


def seconds(function: Callable[[], object]) -> float:
    """Of one call, the device's queue included."""
    if torch.cuda.is_available(): torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return time.perf_counter() - started


def over_forward_passes() -> dict[str, Any]:
    """`.index` and `.scores`, all pairs of classes, over the forward passes of the same images in the same batches."""
    network, x, y, x_test, y_test = setting()
    weights = network.state_dict()

    def passes() -> None:
        with torch.inference_mode():
            for batch in [*x.split(32), *x_test.split(32)]: network(batch)

    def ours() -> None:
        SegmentationTracIn(network, [weights]).index((x, y), progress=False).scores((x_test, y_test))

    passes(), ours()
    pairs = [(seconds(passes), seconds(ours)) for _ in range(REPEATS)]
    return {"images": N_TRAIN + N_TEST, "shape": [4, SIDE, SIDE], "width": WIDTH,
            "forward_seconds": round(statistics.median(a for a, _ in pairs), 3),
            "seconds": round(statistics.median(b for _, b in pairs), 3),
            "times_forward": round(statistics.median(b / a for a, b in pairs), 3)}


class ImageLoss(nn.Module):
    """For captum: the sum over some classes of the Dice losses of each image."""

    def __init__(self, classes: list[int]) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor: return losses_per_class(logits, masks, self.classes).sum(1)


def captum_scores(network: nn.Module, layers: list[str], train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor],
                  classes: list[int], test_classes: list[int]) -> Tensor:
    """(test, train) by captum's TracInCP, example by example, the only one of its modes that takes such losses and all layers."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "weights.pt")
        torch.save(network.state_dict(), path)

        def load(model: nn.Module, at: str) -> float:
            model.load_state_dict(torch.load(at, weights_only=True))
            return 1.0

        tracin = TracInCP(network, torch.utils.data.TensorDataset(*train), [path], load, layers, ImageLoss(classes), batch_size=8,
                          test_loss_fn=ImageLoss(test_classes))
        found: Tensor = tracin.influence(test)
    return found


def against_captum() -> list[dict[str, Any]]:
    """Time of captum's TracInCP over ours on the same work: the last layer, and all layers with weights that both take."""
    network, x, y, x_test, y_test = setting(24, 8, 64)
    train, test, rows = (x, y), (x_test, y_test), []
    all_layers = [name for name, layer in network.named_modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    for name, layers, options in (("last layer", ["final_conv"], {"bias": True}),
                                  (f"all {len(all_layers)} convolutions", all_layers, {"layers": all_layers, "bias": True})):
        def ours() -> Tensor:
            return SegmentationTracIn(network, [network.state_dict()], batch_size=8, **options).index(train, progress=False).scores(test)

        def image() -> Tensor: return captum_scores(network, layers, train, test, [1, 2, 3], [1, 2, 3])
        def pairs() -> list[Tensor]: return [captum_scores(network, layers, train, test, [j], [i]) for i in (1, 2, 3) for j in (1, 2, 3)]
        ours()
        times = [(seconds(ours), seconds(image), seconds(pairs)) for _ in range(3)]
        scores, theirs = ours().sum((2, 3)), image()
        rows.append({"layers": name, "images": [len(x), len(x_test)], "shape": list(x.shape[1:]), "width": WIDTH,
                     "seconds_all_pairs": round(statistics.median(t[0] for t in times), 3),
                     "captum_seconds_image_score": round(statistics.median(t[1] for t in times), 3),
                     "captum_seconds_all_pairs": round(statistics.median(t[2] for t in times), 3),
                     "times_as_fast_image_score": round(statistics.median(t[1] / t[0] for t in times), 2),
                     "times_as_fast_all_pairs": round(statistics.median(t[2] / t[0] for t in times), 2),
                     "largest_relative_difference": float(f"{((scores - theirs.cpu()).abs().max() / theirs.abs().max()):.1e}")})
    return rows


benchmark_over_forward_passes, benchmark_against_captum = over_forward_passes, against_captum
