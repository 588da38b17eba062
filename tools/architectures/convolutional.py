"""Networks of convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from tools.architectures.base import Architecture, digits, masks


def conv(inputs: int, outputs: int, size: int = 3, **more: int) -> nn.Sequential:
    """Convolution without bias, and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **more),
        nn.BatchNorm2d(outputs),
    )


class Residual(nn.Module):
    """x + body(x), with an activation after the sum or without."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, act: bool = True):
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.shortcut(x) + self.body(x))


def basic(inputs: int, outputs: int, stride: int = 1) -> Residual:
    body = nn.Sequential(conv(inputs, outputs, stride=stride), nn.ReLU(), conv(outputs, outputs))
    same = inputs == outputs and stride == 1
    return Residual(body, None if same else conv(inputs, outputs, 1, stride=stride))


def head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]


def residual() -> nn.Module:
    return nn.Sequential(conv(1, 8), nn.ReLU(), basic(8, 8), basic(8, 16, 2), *head(16))


def zero_residual() -> nn.Module:
    """Last BatchNorm of each block begins with a scale of 0 (Goyal et al. 2017)."""
    model = residual()
    for module in model.modules():
        if isinstance(module, Residual):
            nn.init.zeros_(module.body[-1][1].weight)
    return model


def preactivated() -> nn.Module:
    def block() -> nn.Module:
        return Residual(
            nn.Sequential(
                nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False),
            ),
            act=False,
        )  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), block(), block(), nn.BatchNorm2d(8), nn.ReLU(), *head(8)
    )


def bottleneck() -> nn.Module:
    def block(width: int) -> nn.Module:
        inner = width // 4
        return Residual(
            nn.Sequential(
                conv(width, inner, 1), nn.ReLU(), conv(inner, inner), nn.ReLU(),
                conv(inner, width, 1),
            )
        )  # fmt: skip

    return nn.Sequential(conv(1, 32), nn.ReLU(), block(32), block(32), *head(32))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 4, 1), nn.SiLU(),
            nn.Conv2d(width // 4, width, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


def inverted(width: int) -> nn.Module:
    inner = 4 * width
    body = nn.Sequential(
        conv(width, inner, 1), nn.SiLU(), conv(inner, inner, groups=inner), nn.SiLU(),
        SqueezeExcite(inner), conv(inner, width, 1),
    )  # fmt: skip
    return Residual(body, act=False)


def mobile() -> nn.Module:
    return nn.Sequential(conv(1, 8), nn.SiLU(), inverted(8), inverted(8), *head(8))


class DropPath(nn.Module):
    """Leaves the branch out for some samples (Huang et al. 2016)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        kept = torch.rand(len(x), 1, 1, 1) < 0.8
        return x * kept / 0.8


def stochastic_depth() -> nn.Module:
    model = nn.Sequential(conv(1, 8), nn.ReLU(), basic(8, 8), basic(8, 8), basic(8, 8), *head(8))
    for module in model.modules():
        if isinstance(module, Residual):
            module.body.append(DropPath())
    return model


class Scaled(nn.Module):
    """ConvNeXt's block: depthwise convolution, LayerNorm, MLP, and a small LayerScale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.depthwise(x).permute(0, 2, 3, 1)
        return x + (self.gamma * self.mlp(self.norm(inner))).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 2, stride=2), Scaled(16), Scaled(16), *head(16))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, 4, 3, padding=1))
            for w in (8, 12, 16)
        )
        self.head = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU(), *head(20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.stem(x)]
        for layer in self.layers:
            parts.append(layer(torch.cat(parts, 1)))
        return self.head(torch.cat(parts, 1))


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(1, 8), nn.ReLU())
        self.branches = nn.ModuleList(
            [conv(8, 8, 1), conv(8, 8, 3), conv(8, 8, 5),
             nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(8, 8, 1))]
        )  # fmt: skip
        self.head = nn.Sequential(*head(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(torch.cat([branch(x) for branch in self.branches], 1).relu())


def vgg() -> nn.Module:
    """Convolutions without normalisation, and dropout in the classifier."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10),
    )  # fmt: skip


def group_norm() -> nn.Module:
    def layer(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.Mish()]

    return nn.Sequential(*layer(1, 16), nn.AvgPool2d(2), *layer(16, 16), *head(16))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(conv(1, 8), nn.ReLU())
        self.down2 = nn.Sequential(nn.MaxPool2d(2), conv(8, 16), nn.ReLU())
        self.bottom = nn.Sequential(nn.MaxPool2d(2), conv(16, 16), nn.ReLU())
        self.up2 = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.join2 = nn.Sequential(conv(32, 8), nn.ReLU())
        self.up1 = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.join1 = nn.Sequential(conv(16, 8), nn.ReLU())
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down1(x)
        second = self.down2(first)
        up = self.join2(torch.cat([second, self.up2(self.bottom(second))], 1))
        return self.head(self.join1(torch.cat([first, self.up1(up)], 1)))


def fully_convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(16, 2, 1),
    )  # fmt: skip


def dice_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and Dice, as is usual for masks."""
    chance = outputs.sigmoid()
    shared = (chance * targets).sum((1, 2, 3))
    dice = 1 - (2 * shared + 1) / (chance.sum((1, 2, 3)) + targets.sum((1, 2, 3)) + 1)
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets) + dice.mean()


def class_masks() -> tuple[torch.Tensor, torch.Tensor]:
    images, mask = masks()
    return images, mask[:, 0].long()


CONVOLUTIONAL: Mapping[str, Architecture] = {
    "residual": Architecture(residual, digits),
    "residual, last gamma 0": Architecture(zero_residual, digits),
    "residual, preactivated": Architecture(preactivated, digits),
    "residual, bottleneck": Architecture(bottleneck, digits),
    "inverted bottleneck with squeeze-excite": Architecture(mobile, digits),
    "stochastic depth": Architecture(stochastic_depth, digits),
    "ConvNeXt with LayerScale": Architecture(convnext, digits),
    "DenseNet": Architecture(Dense, digits),
    "Inception": Architecture(Inception, digits),
    "VGG": Architecture(vgg, digits),
    "GroupNorm": Architecture(group_norm, digits),
    "U-Net": Architecture(UNet, masks, nn.BCEWithLogitsLoss(), {"batch_size": 16}),
    "U-Net with Dice": Architecture(UNet, masks, dice_loss, {"batch_size": 16}),
    "FCN": Architecture(fully_convolutional, class_masks, settings={"batch_size": 16}),
}
