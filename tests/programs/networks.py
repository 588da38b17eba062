"""Networks for images, built from the blocks of the usual ones, at their usual initial weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests.programs.program import Made, collector, images

IMAGE_NETWORKS, program = collector()


def conv(
    inside: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU, **norm: Any,
) -> nn.Sequential:  # fmt: skip
    layers: list[nn.Module] = [
        nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, **norm),
    ]
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))  # type: ignore[call-arg]


def as_torchvision(model: nn.Module) -> nn.Module:
    """Initial weights as torchvision gives them to its mobile networks."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
    return model


class Squeeze(nn.Module):
    def __init__(
        self, width: int, inner: int, act: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale: torch.Tensor = self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))
        return scale * x


def drop_path(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    if not training or p == 0:
        return x
    keep = torch.empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - p).div_(1 - p)
    return x * keep


class Inverted(nn.Module):
    """Inverted residual: expand, depthwise, squeeze-excite, project."""

    def __init__(
        self, inside: int, out: int, stride: int, expand: int, act: type[nn.Module],
        squeeze: nn.Module | None = None, drop: float = 0.0, kernel: int = 3, **norm: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        wide = inside * expand
        body = [conv(inside, wide, 1, act=act, **norm)] if expand > 1 else []
        body.append(conv(wide, wide, kernel, stride, groups=wide, act=act, **norm))
        self.body = nn.Sequential(
            *body, *([squeeze] if squeeze else []), conv(wide, out, 1, act=None, **norm)
        )
        self.same, self.drop = stride == 1 and inside == out, drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.same:
            return self.body(x)  # type: ignore[no-any-return]
        return x + drop_path(self.body(x), self.drop, self.training)


def head(width: int, p: float, hidden: int = 0, act: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if hidden:
        layers += [nn.Linear(width, hidden), act(), nn.Dropout(p), nn.Linear(hidden, 4)]
    else:
        layers += [nn.Dropout(p), nn.Linear(width, 4)]
    return layers


def trained(model: nn.Module, size: int = 16, **options: Any) -> Made:
    return model, images(size), {"loss_fn": nn.CrossEntropyLoss(), **options}


@program
def mobilenet_v2() -> Made:
    act = nn.ReLU6
    rest = [(16, 1, 1), (24, 2, 6), (24, 1, 6), (32, 2, 6), (32, 1, 6), (32, 1, 6), (64, 2, 6)]
    rest += [(64, 1, 6)] * 3 + [(96, 1, 6)] * 3 + [(160, 2, 6)] + [(160, 1, 6)] * 2
    blocks, width = [], 16
    for out, stride, expand in rest:
        blocks.append(Inverted(width, out, stride, expand, act))
        width = out
    body = nn.Sequential(conv(3, 16, 3, 2, act=act), *blocks, conv(width, 256, 1, act=act))
    return trained(as_torchvision(nn.Sequential(body, *head(256, 0.2))), optimizer="sgd", lr=0.05)


@program
def mobilenet_v3() -> Made:
    act, norm = nn.Hardswish, {"eps": 1e-3, "momentum": 0.01}

    def squeeze(width: int) -> Squeeze:
        return Squeeze(width, max(8, width // 4), nn.ReLU, nn.Hardsigmoid)

    blocks: list[nn.Module] = [
        Inverted(16, 16, 2, 1, nn.ReLU, squeeze(16), **norm),
        Inverted(16, 24, 2, 4, nn.ReLU, **norm), Inverted(24, 24, 1, 4, nn.ReLU, **norm),
        *[Inverted(a, b, s, 4, act, squeeze(4 * a), kernel=5, **norm)
          for a, b, s in [(24, 40, 2), (40, 40, 1), (40, 40, 1), (40, 48, 1), (48, 96, 2),
                          (96, 96, 1), (96, 96, 1)]],
    ]  # fmt: skip
    body = nn.Sequential(conv(3, 16, 3, 2, act=act, **norm), *blocks, conv(96, 192, 1, act=act))
    model = nn.Sequential(body, *head(192, 0.2, 128, nn.Hardswish))
    return trained(as_torchvision(model), optimizer="rmsprop", lr=1e-3)


class Shuffled(nn.Module):
    """A block of ShuffleNet V2: half of the channels pass, then all are shuffled."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        half, self.stride = width // 2, stride
        inside = half if stride == 1 else width
        self.right = nn.Sequential(
            conv(inside, half, 1), conv(half, half, 3, stride, groups=half, act=None)
            if stride == 1 else conv(inside if inside == half else half, half, 3, stride,
                                     groups=half, act=None),
            conv(half, half, 1),
        )  # fmt: skip
        self.left = nn.Sequential(
            conv(width, width, 3, stride, groups=width, act=None), conv(width, half, 1)
        ) if stride > 1 else None  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.left is None:
            one, other = x.chunk(2, 1)
            out = torch.cat([one, self.right(other)], 1)
        else:
            out = torch.cat([self.left(x), self.right(x)], 1)
        n, c, h, w = out.shape
        return out.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


@program
def shufflenet() -> Made:
    blocks = [Shuffled(48, s) for s in (2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)]
    body = nn.Sequential(conv(3, 48, 3, 1), *blocks, conv(48, 128, 1))
    return trained(nn.Sequential(body, *head(128, 0.0)), lr=1e-3)


@program
def mnasnet() -> Made:
    norm = {"momentum": 1 - 0.9997}
    plan = [(16, 24, 2, 3, 3)] + [(24, 24, 1, 3, 3)] * 2 + [(24, 40, 2, 3, 5)]
    plan += [(40, 40, 1, 3, 5)] * 2 + [(40, 80, 2, 6, 5)] + [(80, 80, 1, 6, 5)] * 2
    plan += [(80, 96, 1, 6, 3), (96, 96, 1, 6, 3), (96, 160, 2, 6, 5)]
    plan += [(160, 160, 1, 6, 5)] * 2 + [(160, 192, 1, 6, 3)]
    blocks = [Inverted(a, b, s, e, nn.ReLU, kernel=k, **norm) for a, b, s, e, k in plan]
    body = nn.Sequential(conv(3, 16, 3, 1, **norm), *blocks, conv(192, 256, 1, **norm))
    model = as_torchvision(nn.Sequential(body, *head(256, 0.2)))
    return trained(model, optimizer="sgd", lr=0.02)


@program
def efficientnet() -> Made:
    plan = [(16, 16, 1, 1, 3), (16, 24, 2, 6, 3), (24, 24, 1, 6, 3), (24, 40, 2, 6, 5)]
    plan += [(40, 40, 1, 6, 5), (40, 80, 2, 6, 3), (80, 80, 1, 6, 3), (80, 80, 1, 6, 3)]
    plan += [(80, 112, 1, 6, 5), (112, 112, 1, 6, 5), (112, 112, 1, 6, 5), (112, 192, 2, 6, 5)]
    blocks = []
    for place, (a, b, s, e, k) in enumerate(plan):
        inner = Squeeze(a * e, max(1, a // 4), nn.SiLU)
        blocks.append(Inverted(a, b, s, e, nn.SiLU, inner, 0.2 * place / len(plan), k))
    body = nn.Sequential(conv(3, 16, 3, 2, act=nn.SiLU), *blocks, conv(192, 320, 1, act=nn.SiLU))
    return trained(as_torchvision(nn.Sequential(body, *head(320, 0.2))), lr=1e-3)


class Residual(nn.Module):
    def __init__(self, width: int, zero: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, width), conv(width, width, act=None))
        if zero:
            nn.init.zeros_(self.body[1][1].weight)  # type: ignore[index, arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


@program
def resnet_with_zero_gammas() -> Made:
    body = nn.Sequential(conv(3, 16), *[Residual(16) for _ in range(6)])
    return trained(nn.Sequential(body, *head(16, 0.0)), 16, optimizer="sgd", lr=0.05)


@program
def vgg_with_dropout_behind() -> Made:
    layers: list[nn.Module] = []
    for a, b in [(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]:
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if a == b else []
    classifier = [nn.Linear(256, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU()]
    return trained(
        nn.Sequential(*layers, nn.Flatten(), *classifier, nn.Dropout(), nn.Linear(64, 4)), 16,
    )  # fmt: skip


class Fire(nn.Module):
    def __init__(self, inside: int, squeeze: int, out: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, out, 1), nn.Conv2d(squeeze, out, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


@program
def squeezenet() -> Made:
    body = [nn.Conv2d(3, 32, 3, 2), nn.ReLU(), Fire(32, 8, 32), Fire(64, 8, 32), nn.MaxPool2d(2)]
    body += [Fire(64, 16, 48), Fire(96, 16, 48), nn.Dropout(0.5), nn.Conv2d(96, 4, 1), nn.ReLU()]
    return trained(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten()), lr=1e-3)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, 4 * width)
        self.down, self.drop = nn.Linear(4 * width, width), drop
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.mix(x).permute(0, 2, 3, 1))
        y = (self.scale * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)
        return x + drop_path(y, self.drop, self.training)


@program
def convnext() -> Made:
    stem = nn.Conv2d(3, 24, 4, 4)
    model = nn.Sequential(stem, *[ConvNeXtBlock(24, 0.1) for _ in range(4)], *head(24, 0.0))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return trained(model, optimizer="adamw", lr=1e-3)


class DenseLayer(nn.Module):
    def __init__(self, inside: int, growth: int, drop: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False), nn.Dropout(drop),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.body(x)], 1)


@program
def densenet() -> Made:
    layers = [DenseLayer(16 + 8 * place, 8, 0.0) for place in range(6)]
    tail = [nn.BatchNorm2d(64), nn.ReLU(), *head(64, 0.1)]
    return trained(nn.Sequential(conv(3, 16), *layers, *tail), 16, optimizer="sgd", lr=0.05)


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.place = nn.Parameter(0.02 * torch.randn(1, 17, 32))
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 4, nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.body(x)[:, 0])  # type: ignore[no-any-return]


@program
def vision_transformer() -> Made:
    return trained(VisionTransformer(), 16, optimizer="adamw", lr=1e-3)


class Inception(nn.Module):
    """A second classifier that is used in training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.rest = conv(3, 16, 3, 2), nn.Sequential(Residual(16, False), conv(16, 32))
        self.early, self.late = nn.Linear(16, 4), nn.Sequential(nn.Dropout(0.5), nn.Linear(32, 4))

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        late = self.late(self.rest(x).mean((2, 3)))
        return (late, self.early(x.mean((2, 3)))) if self.training else late


@program
def inception_with_a_second_classifier() -> Made:
    def loss_fn(outputs: Any, y: torch.Tensor) -> torch.Tensor:
        if isinstance(outputs, tuple):
            late, early = outputs
            return F.cross_entropy(late, y) + 0.4 * F.cross_entropy(early, y)
        return F.cross_entropy(outputs, y)

    return Inception(), images(16), {"loss_fn": loss_fn, "lr": 1e-3}
