"""Training in two processes, and training that is killed: what a cell cannot show, because it takes processes of its own."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

from medxai.core.errors import ShapeError
from medxai.core.training import Batches

TOGETHER = """
import sys, torch
from pathlib import Path
from medxai.clustering import ContrastiveAutoencoder
from medxai.core.training import Batches, train
from medxai.core.weights import save_weights
import lightning as L

class Watched(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
        self.unused, self.seen = torch.nn.Linear(1, 1), []
    def training_step(self, batch, index):
        self.seen.append(batch[0])
        loss = (self.layer(batch[0] / 50) - batch[0] / 50).square().mean()
        self.log("loss", loss, on_epoch=True, on_step=False, sync_dist=True)
        return loss
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.1)

rows = torch.arange(50.0)[:, None]
watched = Watched()
history = train(watched, Batches(rows, batch_size=8), max_epochs=2, devices=2, device="cpu", progress=False)
images = (rows[:, :, None, None] * torch.ones(1, 16, 16)).to(torch.uint8)
model = ContrastiveAutoencoder(latent_size=4, image_size=16, encoder_widths=(4, 8), decoder_widths=(4, 4), batch_size=64,
                               max_epochs=2, devices=2, device="cpu", progress=False).fit(images)
clustering = model.cluster(images, 3, refine_epochs=2)
found = {"seen": torch.stack(watched.seen).view(2, -1), "loss": torch.tensor([epoch["loss"] for epoch in history]),
         "prototypes": clustering.prototypes_, "codes": clustering.transform(images)}
for network in (watched, model.network_):
    found |= {f"{type(network).__name__}.{name}": x for name, x in network.state_dict().items()}
save_weights(Path(sys.argv[1]) / f"{torch.distributed.get_rank()}.safetensors", "test", found, {})
"""

KILLED = """
import os, signal, sys, torch
from pathlib import Path
from medxai.clustering import Augmentation, ContrastiveAutoencoder

class Fatal(Augmentation):
    views = 0
    def __call__(self, images, generator):
        Fatal.views += 1
        if Fatal.views == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(images, generator)
    def __repr__(self): return repr(Augmentation())

folder = Path(sys.argv[1])
images = torch.randint(0, 256, (40, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
model = ContrastiveAutoencoder(latent_size=4, image_size=16, encoder_widths=(4, 8), decoder_widths=(4, 4), batch_size=10,
                               max_epochs=4, device="cpu", progress=False, checkpoint=folder, augmentation=Fatal()).fit(images)
model.save(folder / "model.safetensors")
"""


def python(code: str, *arguments: str | Path) -> int:
    """Exit status of a script of its own, as a user would start it."""
    script = Path(arguments[0]) / "script.py"
    script.write_text(code, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, script, *map(str, arguments)], env=environment, timeout=300, check=False).returncode


@pytest.mark.parametrize(("length", "batch_size"), [(50, 8), (50, 64), (7, 2)])
def test_processes_share_the_rows_of_an_epoch(length: int, batch_size: int) -> None:
    batches, seen = Batches(torch.arange(length), batch_size=batch_size), []
    for rank in range(3):
        with mock.patch("medxai.core.training._world", return_value=(rank, 3)):
            own = [batch for (batch,) in batches]
            assert len(own) == len(batches) >= 1
            seen += [torch.cat(own)]
    rows = torch.cat(seen).tolist()
    assert len(rows) == len(set(rows)) > length - 3 * batch_size
    assert len({len(own) for own in seen}) == 1


def test_each_process_needs_two_rows() -> None:
    batches = Batches(torch.arange(5), batch_size=2)
    shared = mock.patch("medxai.core.training._world", return_value=(0, 3))
    with shared, pytest.raises(ShapeError, match="batch: found 1 of 5 rows"): len(batches)


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    assert python(TOGETHER, tmp_path) == 0
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    for epoch in torch.cat([first.pop("seen"), second.pop("seen")], 1):
        assert len(epoch.unique()) == len(epoch) == 48
    assert first.keys() == second.keys() >= {"loss", "prototypes", "codes", "Autoencoder.projector.0.weight"}
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_training_ends_as_if_it_had_been_left_alone(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed): folder.mkdir()
    assert python(KILLED, whole, 0) == 0
    assert python(KILLED, killed, 8 * 2 + 3) == -signal.SIGKILL  # 8 views in each of 4 epochs
    assert list(killed.rglob("*.ckpt"))
    assert not (killed / "model.safetensors").exists()
    assert python(KILLED, killed, 8 * 2 + 1) == 0  # two epochs are left, not four
    resumed, expected = (load_file(folder / "model.safetensors") for folder in (killed, whole))
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
