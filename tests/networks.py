"""Small networks in double precision for the tests of explanations."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "prelu": nn.PReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}
FORMS = ("module", "functional", "in_place", "reused")


def conv(dims: int) -> type[nn.Module]: return nn.Conv2d if dims == 2 else nn.Conv3d


def norm(kind: str, channels: int, dims: int) -> nn.Module:
    if kind == "none": return nn.Identity()
    if kind == "group": return nn.GroupNorm(2, channels)
    if kind == "instance": return (nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d)(channels, affine=True)
    return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels)


def pool(kind: str, dims: int) -> nn.Module:
    kinds = {"max": (nn.MaxPool2d, nn.MaxPool3d), "average": (nn.AvgPool2d, nn.AvgPool3d)}
    return kinds[kind][dims - 2](2) if kind in kinds else nn.Identity()


class Classifier(nn.Module):
    """Two convolutions, a residual addition, and three classes."""

    def __init__(self, modalities: int = 4, dims: int = 2, *, activation: str = "relu", normalisation: str = "batch",
                 pooling: str = "max", form: str = "module", classes: int = 3) -> None:
        super().__init__()
        self.first, self.second = conv(dims)(modalities, 4, 3, padding=1), conv(dims)(4, 4, 3, padding=1)
        self.norm_1, self.norm_2 = norm(normalisation, 4, dims), norm(normalisation, 4, dims)
        self.pool, self.form = pool(pooling, dims), form
        self.act_1, self.act_2 = ACTIVATIONS[activation](), ACTIVATIONS[activation]()
        self.average = nn.AdaptiveAvgPool2d(2) if dims == 2 else nn.AdaptiveAvgPool3d(2)
        self.head = nn.Linear(4 * 2**dims, classes)

    def activate(self, x: Tensor, layer: nn.Module) -> Tensor:
        if self.form == "functional": return F.relu(x)
        if self.form == "in_place": return F.relu(x, inplace=True)
        return self.act_1(x) if self.form == "reused" else layer(x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.activate(self.norm_1(self.first(x)), self.act_1))
        y = self.norm_2(self.second(x))
        y += x
        return self.head(self.average(self.activate(y, self.act_2)).flatten(1))


class Branches(nn.Module):
    """One convolution for each modality, and one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(), nn.Linear(8, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        found = [self.relu(layer(x)).mean((2, 3)) for layer, x in ((self.left, left), (self.right, right))]
        return self.head(torch.cat(found, 1))


def segmenter(modalities: int = 4, dims: int = 2) -> nn.Module:
    """Three classes for each voxel."""
    return nn.Sequential(conv(dims)(modalities, 4, 3, padding=1), nn.ReLU(), conv(dims)(4, 4, 3, padding=1), nn.ReLU(),
                         conv(dims)(4, 3, 1))


def ready(network: nn.Module, seed: int = 2) -> nn.Module:
    """In double precision and evaluation mode, all weights and running statistics from the seed."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point(): continue
            noise = torch.randn(tensor.shape, generator=draw)
            if tensor.ndim > 1: tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
            elif name.endswith(("bias", "mean")): tensor.copy_(0.3 * noise)
            else: tensor.add_(0.3 * noise.clamp(-1, 1)).abs_()
    return network.double().eval()


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
