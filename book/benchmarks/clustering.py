"""Views per second in phase 1 of paper 1, three ways side by side, and the memory that embedding takes."""
from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medxai.clustering.augmentation import Augmentation, as_images
from medxai.clustering.autoencoder import ContrastiveAutoencoder
from medxai.clustering.networks import Autoencoder
from medxai.clustering.phases import WarmUp
from medxai.core.compatibility import ensure_torchvision
from medxai.core.device import choose_device, generator
from medxai.core.training import Batches

ensure_torchvision()
from torchvision.transforms import v2

BATCH, SIDE, REPEATS = 512, 32, 5
WORKERS = os.cpu_count() or 1


class Unchanged(Augmentation):
    """Views that are the images themselves."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: return as_images(images)


class Transformed(Dataset[tuple[Tensor, Tensor]]):
    """Two views of one image at a time, by the transforms of torchvision that do what `Augmentation` does."""

    def __init__(self, images: Tensor) -> None:
        like = Augmentation()
        self.images = images
        self.view = v2.Compose([
            v2.RandomResizedCrop(SIDE, scale=like.scale, ratio=(1, 1)),
            v2.RandomAffine(like.degrees, translate=(like.shift, like.shift), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=like.brightness, contrast=like.contrast),
            v2.GaussianBlur(3, like.sigma),
            v2.ToDtype(torch.float32, scale=True),
            v2.GaussianNoise(sigma=like.noise / 2),
        ])

    def __len__(self) -> int: return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]: return self.view(self.images[i]), self.view(self.images[i])


class Side:
    """One way of training: its own network, its own source of views, the same step."""

    def __init__(self, device: torch.device, views: Callable[[WarmUp], Iterator[Tensor]], augmentation: Augmentation) -> None:
        torch.manual_seed(0)
        options = {"temperature": 0.5, "contrastive_weight": 1.0, "reconstruction_weight": 0.1, "kl_weight": 0.0, "seed": 0}
        self.phase = WarmUp(Autoencoder(channels=1, image_size=SIDE, latent_size=50).to(device), augmentation,
                            learning_rate=1e-3, weight_decay=1e-6, **options).to(device)
        self.adam, self.views, self.device = torch.optim.Adam(self.phase.parameters(), lr=1e-3), views, device

    def views_per_second(self) -> float:
        """Over one epoch, in full steps of forward pass, backward pass and Adam."""
        started, n = time.perf_counter(), 0
        for index, views in enumerate(self.views(self.phase)):
            self.step(views, index)
            n += len(views)
        if self.device.type == "cuda": torch.cuda.synchronize()
        return n / (time.perf_counter() - started)

    def step(self, views: Tensor, index: int) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            losses = self.phase.losses(views, index)
        self.adam.zero_grad()
        sum(self.phase.weights[name] * loss for name, loss in losses.items()).backward()
        self.adam.step()


def sides(device: torch.device, n: int) -> dict[str, Side]:
    """Ours, ours without augmentation, and the DataLoader's, on the same `n` images."""
    images = torch.randint(0, 256, (n, 1, SIDE, SIDE), dtype=torch.uint8, generator=generator(0, "benchmark"))
    batches = Batches(images.to(device), batch_size=BATCH)
    loader = DataLoader(Transformed(images), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=WORKERS,
                        persistent_workers=True, pin_memory=device.type == "cuda", multiprocessing_context="fork")

    def ours(phase: WarmUp) -> Iterator[Tensor]:
        for index, (batch,) in enumerate(batches): yield phase.two_views(batch, index)

    def loaded(phase: WarmUp) -> Iterator[Tensor]:
        for pair in loader:
            views = torch.cat([view.to(device, non_blocking=True) for view in pair])
            yield views.contiguous(memory_format=torch.channels_last)

    return {"ours": Side(device, ours, Augmentation()), "without_augmentation": Side(device, ours, Unchanged()),
            "dataloader": Side(device, loaded, Unchanged())}


def benchmark_training() -> dict[str, Any]:
    """Medians over interleaved repeats; one epoch of each side goes ahead, for the workers to start and the caches to fill."""
    device = choose_device()
    compared = sides(device, BATCH * (64 if device.type == "cuda" else 4))
    for side in compared.values(): side.views_per_second()
    rates = [{name: side.views_per_second() for name, side in compared.items()} for _ in range(REPEATS)]
    found = {f"views_per_second_{name}": round(statistics.median(rate[name] for rate in rates)) for name in compared}
    with_over_without = statistics.median(rate["without_augmentation"] / rate["ours"] for rate in rates)
    over_dataloader = statistics.median(rate["ours"] / rate["dataloader"] for rate in rates)
    return {**found, "time_with_augmentation_over_without": round(with_over_without, 2),
            "speed_over_dataloader": round(over_dataloader, 2), "dataloader_workers": WORKERS,
            "batch_size": BATCH, "image_size": SIDE, "repeats": REPEATS}


def peak_mib() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak() -> None:
    """Let the peak start anew from what is held now, where the system can; else it starts from the earlier peak."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists(): reset.write_text("5")


def benchmark_embedding() -> dict[str, Any]:
    """What embedding adds to the memory of the process at most, and to that of the GPU."""
    images = torch.randint(0, 256, (100_000, 1, 28, 28), dtype=torch.uint8, generator=generator(0, "benchmark"))
    model = ContrastiveAutoencoder(max_epochs=1, progress=False).fit(images[:2])
    if torch.cuda.is_available(): torch.cuda.reset_peak_memory_stats()
    forget_peak()
    before, started = peak_mib(), time.perf_counter()
    codes = model.transform(images)
    seconds = time.perf_counter() - started
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0
    return {"images": len(codes), "peak_mib_beyond_images": round(peak_mib() - before), "peak_mib_on_gpu": round(gpu),
            "images_mib": round(images.nbytes / 2**20), "codes_mib": round(codes.nbytes / 2**20), "seconds": round(seconds, 1)}
