"""What the extraction of networks takes in time and memory, scan after scan, and how fast the encoder learns."""
from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

from medxai.data import SurgeryCohort
from medxai.recovery import NetworkExtractor, NetworkStateClassifier, as_networks


def seconds(function: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    function()
    return round(time.perf_counter() - started, 1)


def peak() -> int:
    """MiB that this process has needed at most."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def extraction(n_patients: int) -> dict[str, Any]:
    """Fit on scans of 200 volumes at 4 mm, from files, and the networks of one more."""
    with tempfile.TemporaryDirectory() as folder:
        scans = SurgeryCohort(n_patients=n_patients, voxel_size=4).scans(folder, seed=0)
        extractor = NetworkExtractor(min_match=0.0, standardise=False, smoothing=8.0, progress=False)
        before = peak()
        fit = seconds(lambda: extractor.fit(scans))
        transform = seconds(lambda: extractor.transform(scans[:4])) / 4
        return {"scans": len(scans), "volumes": 200, "voxel_mm": 4, "fit_seconds": fit, "peak_mib_before": before,
                "peak_mib_fit": peak(), "transform_seconds_per_scan": transform}


def benchmark_extraction_of_8_scans() -> dict[str, Any]: return extraction(4)


def benchmark_extraction_of_32_scans() -> dict[str, Any]: return extraction(16)


def epoch_seconds(width: int) -> float:
    """Of stage 1 on 450 networks; what a fit costs besides is taken off."""
    networks = as_networks(SurgeryCohort(n_patients=45).networks(seed=0))

    def fit(epochs: int) -> None:
        NetworkStateClassifier(width=width, max_epochs=epochs, progress=False).fit(networks)

    fit(1)
    return (seconds(lambda: fit(12)) - seconds(lambda: fit(2))) / 10


def benchmark_stage_1() -> list[dict[str, Any]]:
    """Networks that the encoder learns from in a second; maps of 26 × 30 × 25 voxels, courses of 200 values."""
    return [{"width": width, "networks_per_second": round(450 / epoch_seconds(width))} for width in (8, 16)]
