"""Networks that compare, and networks of sets and graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tools.architectures.base import Architecture, flat_digits, generator


def encoder(out: int = 16) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, out))


class Siamese(nn.Module):
    """Distance of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return functional.pairwise_distance(self.encoder(one), self.encoder(other))


def pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two images each [N, 64], and 1 if they show the same digit."""
    images, labels = flat_digits()
    order = labels.argsort()
    moved = torch.where(torch.rand(600, generator=generator()) < 0.5, 1, 30) + torch.arange(600)
    other = order[moved % 600]
    return images[order], images[other], (labels[order] == labels[other]).float()


def contrastive(apart: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    return (same * apart**2 + (1 - same) * (1 - apart).clamp_min(0) ** 2).mean()


def triplet_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Hardest positive and negative of each sample in the batch."""
    images, labels = batch
    codes = functional.normalize(model(images), dim=1)
    apart = torch.cdist(codes, codes)
    same = labels[:, None] == labels[None]
    far = apart.masked_fill(~same, -1).max(1).values
    near = apart.masked_fill(same, 9).min(1).values
    return (far - near + 0.3).clamp_min(0).mean()


class Triplets(nn.Module):
    """Codes of anchor, positive and negative."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.encoder(image) for image in images)


def triplets() -> tuple[torch.Tensor, ...]:
    images, labels = flat_digits()
    order = labels.argsort()
    place = torch.arange(600)
    positive, negative = order[(place + 1) % 600], order[(place + 200) % 600]
    return images[order], images[positive], images[negative], labels[order]


def triplet_loss(codes: tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
    return functional.triplet_margin_loss(*codes)


def info_nce_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Two noisy views of each sample find each other (SimCLR)."""
    views = [batch[0] + 0.3 * torch.randn_like(batch[0]) for _ in range(2)]
    one, other = (functional.normalize(model(view), dim=1) for view in views)
    return functional.cross_entropy(one @ other.T / 0.2, torch.arange(len(one)))


class Predictor(nn.Module):
    """SimSiam: the other view's code is a target without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16)
        )
        self.predictor = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 16))


def simsiam_step(model: Predictor, batch: Any) -> torch.Tensor:
    codes = [model.encoder(batch[0] + 0.3 * torch.randn_like(batch[0])) for _ in range(2)]
    found = [model.predictor(code) for code in codes]
    first = functional.cosine_similarity(found[0], codes[1].detach()).mean()
    second = functional.cosine_similarity(found[1], codes[0].detach()).mean()
    return -(first + second) / 2


class Cosine(nn.Module):
    """Cosines of normalised codes and classes, times a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.classes = nn.Parameter(torch.randn(10, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes = functional.normalize(self.encoder(x), dim=1)
        return 20 * codes @ functional.normalize(self.classes, dim=1).T


def arc_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The class of each sample is moved away by a margin."""
    margin = functional.one_hot(labels, 10) * 20 * 0.2
    return functional.cross_entropy(logits - margin, labels)


class Factors(nn.Module):
    """Matrix factorisation with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(30, 8), nn.Embedding(40, 8)
        self.user_bias, self.item_bias = nn.Embedding(30, 1), nn.Embedding(40, 1)
        for table in (self.users, self.items, self.user_bias, self.item_bias):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        product = (self.users(user) * self.items(item)).sum(1)
        return product + self.user_bias(user)[:, 0] + self.item_bias(item)[:, 0]


def ratings() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = generator(7)
    user = torch.randint(0, 30, (800,), generator=draw)
    item = torch.randint(0, 40, (800,), generator=draw)
    taste, kind = torch.randn(30, 3, generator=draw), torch.randn(40, 3, generator=draw)
    score = (taste[user] * kind[item]).sum(1)
    return user, item, (score - score.mean()) / score.std()


class Bags(nn.Module):
    """Mean of the embeddings of the items someone has, against the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(40, 16, mode="mean"), nn.Linear(16, 5)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return self.head(self.bag(items))


def baskets() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(9)
    kind = torch.randint(0, 5, (400,), generator=draw)
    items = kind[:, None] * 8 + torch.randint(0, 8, (400, 6), generator=draw)
    other = torch.randint(0, 40, (400, 6), generator=draw)
    return torch.where(torch.rand(400, 6, generator=draw) < 0.5, items, other), kind


class SkipGram(nn.Module):
    """Scores of a word's true and drawn neighbours [N, 1 + K]."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.contexts = nn.Embedding(30, 12), nn.Embedding(30, 12)

    def forward(self, word: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        scores = (self.contexts(others) @ self.words(word)[:, :, None])[..., 0]
        return scores / 12**0.5


def neighbours() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = generator(10)
    word = torch.randint(0, 30, (600,), generator=draw)
    true = (word // 5 * 5 + torch.randint(0, 5, (600,), generator=draw))[:, None]
    drawn = torch.randint(0, 30, (600, 2), generator=draw)
    wanted = torch.tensor([1.0, 0.0, 0.0]).repeat(600, 1)
    return word, torch.cat([true, drawn], 1), wanted


class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.all(self.each(points).mean(1))


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1),
            nn.BatchNorm1d(32), nn.ReLU(),
        )  # fmt: skip
        self.all = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.all(self.each(points.transpose(1, 2)).amax(2))


def clouds() -> tuple[torch.Tensor, torch.Tensor]:
    """Points on a sphere, in a cube or in a plane [N, 24, 3]."""
    draw = generator(11)
    kind = torch.randint(0, 3, (300,), generator=draw)
    cloud = torch.randn(300, 24, 3, generator=draw)
    sphere = functional.normalize(cloud, dim=2) * 1.7
    flat = cloud * torch.tensor([1.2, 1.2, 0.1])
    return torch.stack([cloud, sphere, flat], 1)[torch.arange(300), kind], kind


class GraphConv(nn.Module):
    """Kipf and Welling (2017), with a dense adjacency [N, V, V]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        edges = edges + torch.eye(edges.shape[1])
        edges = edges / edges.sum(2, keepdim=True)
        hidden = (edges @ self.first(nodes)).relu()
        return self.head((edges @ self.second(hidden)).relu().mean(1))


class GraphAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(4, 16), nn.Linear(16, 2)
        self.source, self.target = nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        hidden = self.project(nodes)
        score = self.source(hidden) + self.target(hidden).transpose(1, 2)
        linked = edges + torch.eye(edges.shape[1]) > 0
        weight = functional.leaky_relu(score, 0.2).masked_fill(~linked, -1e9).softmax(2)
        return self.head(functional.elu(weight @ hidden).mean(1))


def graphs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = generator(12)
    nodes = torch.randn(300, 8, 4, generator=draw)
    linked = torch.rand(300, 8, 8, generator=draw) < 0.3
    edges = (linked | linked.transpose(1, 2)).float()
    spread = (edges @ nodes[:, :, :1])[..., 0].sum(1)
    return nodes, edges, (spread > spread.median()).long()


METRIC: Mapping[str, Architecture] = {
    "siamese": Architecture(Siamese, pairs, contrastive),
    "triplets in the batch": Architecture(
        encoder, flat_digits, None, {"step_fn": triplet_step, "batch_size": 64}
    ),
    "triplets": Architecture(Triplets, triplets, triplet_loss),
    "SimCLR": Architecture(encoder, flat_digits, None, {"step_fn": info_nce_step}),
    "SimSiam": Architecture(Predictor, flat_digits, None, {"step_fn": simsiam_step}),
    "cosine classifier": Architecture(Cosine, flat_digits),
    "ArcFace": Architecture(Cosine, flat_digits, arc_loss),
    "matrix factorisation": Architecture(Factors, ratings, nn.MSELoss()),
    "embedding bag": Architecture(Bags, baskets),
    "word2vec": Architecture(SkipGram, neighbours, nn.BCEWithLogitsLoss()),
    "deep sets": Architecture(DeepSets, clouds),
    "PointNet": Architecture(PointNet, clouds),
    "graph convolution": Architecture(GraphConv, graphs),
    "graph attention": Architecture(GraphAttention, graphs),
}
