"""What influence costs beside a forward pass, beside captum, and on a million images."""
from __future__ import annotations

import json
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
N_SLICES, PIECE = 10**6, 10**4


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


def over_forward_passes() -> list[dict[str, Any]]:
    """`.index` and `.scores` over the same forward passes; what is checked once weighs less with more images."""
    return [times_forward(n_train) for n_train in (N_TRAIN, 5 * N_TRAIN)]


def times_forward(n_train: int) -> dict[str, Any]:
    """All pairs of classes, over the forward passes of the same images in the same batches."""
    network, x, y, x_test, y_test = setting(n_train)
    weights = network.state_dict()

    def passes() -> None:
        with torch.inference_mode():
            for batch in [*x.split(32), *x_test.split(32)]: network(batch)

    def ours() -> None:
        SegmentationTracIn(network, [weights]).index((x, y), progress=False).scores((x_test, y_test))

    passes(), ours()
    pairs = [(seconds(passes), seconds(ours)) for _ in range(REPEATS)]
    return {"images": n_train + N_TEST, "shape": [4, SIDE, SIDE], "width": WIDTH,
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
    """Time of captum's TracInCP over ours on the same work: the last layer, and all convolutions."""
    network = setting(1, 1, 64)[0]
    layers = [name for name, layer in network.named_modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    return [side_by_side("last layer", ["final_conv"], {}), side_by_side(f"all {len(layers)}", layers, {"layers": layers})]


def side_by_side(name: str, layers: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """One row: all pairs of classes by ours, and by captum first the sum over the classes, then pair by pair."""
    network, x, y, *test = setting(24, 8, 64)
    given = network, layers, (x, y), (test[0], test[1])

    def ours() -> Tensor:
        tracin = SegmentationTracIn(network, [network.state_dict()], bias=True, batch_size=8, **options)
        return tracin.index((x, y), progress=False).scores((test[0], test[1]))

    def image() -> Tensor: return captum_scores(*given, [1, 2, 3], [1, 2, 3])
    def pairs() -> list[Tensor]: return [captum_scores(*given, [j], [i]) for i in (1, 2, 3) for j in (1, 2, 3)]

    scores, theirs = ours().sum((2, 3)), image().cpu()
    times = [(seconds(ours), seconds(image), seconds(pairs)) for _ in range(3)]
    median = lambda of: round(statistics.median(of), 3)
    return {"layers": name, "images": [24, 8], "shape": list(x.shape[1:]), "width": WIDTH,
            "seconds_all_pairs": median(a for a, _, _ in times),
            "captum_seconds_image_score": median(b for _, b, _ in times),
            "captum_seconds_all_pairs": median(c for _, _, c in times),
            "times_as_fast_image_score": median(b / a for a, b, _ in times),
            "times_as_fast_all_pairs": median(c / a for a, _, c in times),
            "largest_relative_difference": float(f"{(scores - theirs).abs().max() / theirs.abs().max():.1e}")}


def million_slices() -> dict[str, Any]:
    """An index of a million slices by the paper's head, its rows simulated: size, and one query for the top 20."""
    network = tumour_unet(width=64)
    test = torch.randn(1, 4, 32, 32), torch.randint(0, 4, (1, 32, 32))
    with tempfile.TemporaryDirectory() as folder:
        made = simulated(network, Path(folder))
        tracin = SegmentationTracIn(network, [network.state_dict()]).index(folder=folder)
        tracin.rank(test, top=20, test_class=3)
        times = [seconds(lambda: tracin.rank(test, top=20, test_class=3)) for _ in range(3)]
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {"slices": N_SLICES, "numbers": tracin.index_.width, "checkpoints": 1, "gigabytes": round(size / 1e9, 2),
            "seconds_to_write": round(made, 1), "seconds_a_query": round(statistics.median(times), 2)}


def simulated(network: nn.Module, folder: Path) -> float:
    """Put a whole index with random rows into a folder; seconds that it took."""
    example = torch.randn(2, 4, 32, 32), torch.randint(0, 4, (2, 32, 32))
    about = SegmentationTracIn(network, [network.state_dict()]).index(example, progress=False).index_.about
    started, rng, width = time.perf_counter(), np.random.default_rng(0), about["width"]
    np.save(folder / "present.npy", np.ones((N_SLICES, 3), bool))
    np.save(folder / "digests.npy", np.zeros((N_SLICES, 16), np.uint8))
    rows = np.lib.format.open_memmap(folder / "rows_0.npy", mode="w+", dtype=np.float32, shape=(N_SLICES, width))
    with open(folder / "rows_0.npy", "r+b") as file:
        file.seek(rows.offset)
        del rows
        for _ in range(N_SLICES // PIECE): file.write(rng.standard_normal((PIECE, width), np.float32).tobytes())
    (folder / "index.json").write_text(json.dumps({**about, "n_images": N_SLICES, "done": [N_SLICES]}))
    return time.perf_counter() - started


benchmark_over_forward_passes, benchmark_against_captum = over_forward_passes, against_captum
benchmark_million_slices = million_slices
