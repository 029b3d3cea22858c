"""Networks as people train them, with weights whose ranges differ wildly between channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 8  # pixels of an image, high and wide


class Residual(nn.Module):
    """Two blocks around an addition, in the manner of ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.one = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = F.relu(self.two(self.one(x)) + x)
        return self.head(self.drop(torch.flatten(self.pool(x), 1)))


class Inverted(nn.Module):
    """Inverted residual blocks, in the manner of MobileNetV2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU6()
        )
        self.blocks = nn.ModuleList(self.block() for _ in range(2))
        self.head = nn.Sequential(nn.Conv2d(4, 10, 1), nn.BatchNorm2d(10), nn.ReLU6())
        self.classify = nn.Linear(10, 3)

    @staticmethod
    def block() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(4, 8, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(inplace=True),
            nn.Conv2d(8, 4, 1, bias=False),
            nn.BatchNorm2d(4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.classify(self.head(x).mean([2, 3]))


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 10, 3, padding=1, groups=5),
        nn.LeakyReLU(0.1),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.AvgPool2d(2),
        nn.Conv2d(10, 4, 1, dilation=2),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Linear(16, 7),
        nn.BatchNorm1d(7),
        nn.PReLU(7),
        nn.Linear(7, 3),
    )


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * SIZE**2, 9, bias=False),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(9, 8),
        nn.Hardtanh(-2, 3),
        nn.Linear(8, 3),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "residual": Residual,
    "inverted": Inverted,
    "perceptron": perceptron,
}


def drawn(network: nn.Module, seed: int = 1, *, decades: float = 1.0) -> nn.Module:
    """Draw the weights of a network in double precision; rows differ by ten to ± ``decades``."""
    draws = torch.Generator().manual_seed(seed)
    for module in network.double().modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.data
            rows = 10 ** uniform(weight[:, :1], -decades, decades, draws)
            weight.copy_(uniform(weight, -1, 1, draws) * rows * (3 / weight[0].numel()) ** 0.5)
            if module.bias is not None:
                module.bias.data = uniform(module.bias, -1, 1, draws)
    return network


def make(kind: str, seed: int) -> nn.Module:
    """Return a network in double precision with drawn weights and statistics."""
    draws = torch.Generator().manual_seed(seed)
    network = drawn(NETWORKS[kind](), seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.weight.data = uniform(module.weight, -2, 2, draws)
            module.bias.data = uniform(module.bias, -2, 3, draws)
            module.running_mean = uniform(module.running_mean, -1, 1, draws)
            module.running_var = uniform(module.running_var, 0.3, 3, draws)
    return network


def uniform(like: Tensor, low: float, high: float, draws: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(like.shape, generator=draws, dtype=like.dtype)


def images(num_images: int, seed: int = 0) -> Tensor:
    """Return images of noise, (N, 3, 8, 8), in double precision."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(num_images, 3, SIZE, SIZE, generator=draws, dtype=torch.float64)
