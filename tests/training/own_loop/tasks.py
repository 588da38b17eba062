"""Loops of other tasks: policies, pairs, alignments, packed sequences, graphs, equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, TensorDataset

from tests.training.own_loop.loops import LABELS, Batches, Epochs, OwnLoop, X, mlp


class PolicyGradient(OwnLoop):
    """REINFORCE on a walk that ends at either side; a batch is the number of an episode."""

    def make(self) -> None:
        self.model = mlp(1, 2)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.baseline = torch.zeros(1)
        self.registered = {"state": {"baseline": self.baseline}}

    def extra(self) -> dict[str, Any]:
        return {"baseline": self.baseline}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for _ in batches([torch.tensor([float(i)]) for i in range(5)]):
                place, chosen, reward = torch.zeros(1), [], 0.0
                for _ in range(12):
                    policy = torch.distributions.Categorical(logits=self.model(place))
                    action = policy.sample()
                    chosen.append(policy.log_prob(action))
                    place = place + 2.0 * action - 1.0
                    reward += float(place.abs() < 3)
                loss = -(reward - self.baseline.item()) * torch.stack(chosen).mean()
                self.baseline.mul_(0.9).add_(0.1 * reward)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class ClippedPolicy(OwnLoop):
    """Ready batches of a rollout, with several updates from each, as PPO makes them."""

    def make(self) -> None:
        self.model = mlp(8, 3)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for epoch in epochs(self.epochs):
            draws = torch.Generator().manual_seed(epoch)
            actions = torch.randint(0, 3, (96,), generator=draws)
            gain = torch.randn(96, generator=draws)
            with torch.no_grad():
                old = torch.log_softmax(self.model(X), 1).gather(1, actions[:, None])[:, 0]
            ready = [(X[i::4], actions[i::4], gain[i::4], old[i::4]) for i in range(4)]
            for x, action, advantage, before in batches(ready):
                now = torch.log_softmax(self.model(x), 1).gather(1, action[:, None])[:, 0]
                ratio = (now - before).exp()
                clipped = ratio.clamp(0.8, 1.2)
                loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
                self.optimizer.step()
                self.losses.append(loss.item())


class Pairs(OwnLoop):
    """A network that is called twice, and a contrastive loss."""

    def make(self) -> None:
        self.model = mlp(8, 4)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        pairs = TensorDataset(X, X.flip(0), (LABELS.flip(0) == LABELS).float())
        self.loader = DataLoader(pairs, batch_size=16, shuffle=True)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for one, other, same in batches(self.loader):
                self.optimizer.zero_grad()
                apart = (self.model(one) - self.model(other)).pow(2).sum(1).add(1e-6).sqrt()
                loss = (same * apart**2 + (1 - same) * (1 - apart).clamp_min(0) ** 2).mean()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class Alignment(OwnLoop):
    """CTC over frames, with lengths in the batch."""

    def make(self) -> None:
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 5))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        frames = X.reshape(12, 8, 8)
        texts = torch.randint(1, 5, (12, 3), generator=torch.Generator().manual_seed(0))
        lengths = torch.arange(12) % 3 + 6
        self.loader = DataLoader(TensorDataset(frames, texts, lengths), 4, shuffle=True)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for frames, texts, lengths in batches(self.loader):
                scores = self.model(frames).log_softmax(-1).transpose(0, 1)
                sizes = torch.full((len(texts),), 3)
                loss = functional.ctc_loss(scores, texts, lengths, sizes)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class Packed(OwnLoop):
    """Sequences of several lengths, packed by the collate function."""

    def make(self) -> None:
        self.model = nn.ModuleDict({"rnn": nn.GRU(4, 8), "head": nn.Linear(8, 1)})
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=1e-2)
        made = [X[i, :4].repeat(2 + i % 4, 1) for i in range(32)]
        self.loader = DataLoader(
            made,  # type: ignore[arg-type]
            batch_size=8, shuffle=True,
            collate_fn=lambda parts: pack_sequence(parts, enforce_sorted=False),
        )  # fmt: skip

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for packed in batches(self.loader):
                found, lengths = pad_packed_sequence(self.model["rnn"](packed)[0])
                last = found[lengths - 1, torch.arange(len(lengths))]
                loss = functional.mse_loss(self.model["head"](last)[:, 0], lengths.float())
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class Graphs(OwnLoop):
    """Graphs in dictionaries, joined to one with a block for each."""

    def make(self) -> None:
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        draws = torch.Generator().manual_seed(0)
        graphs = [
            {"nodes": torch.randn(3 + i % 3, 4, generator=draws), "label": torch.tensor(i % 2)}
            for i in range(24)
        ]
        self.loader = DataLoader(graphs, 6, shuffle=True, collate_fn=joined)  # type: ignore[arg-type]

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for batch in batches(self.loader):
                scores = batch["pool"] @ self.model(batch["edges"] @ batch["nodes"])
                loss = functional.cross_entropy(scores, batch["label"])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


def joined(graphs: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """One graph of several, and the matrix that averages the nodes of each."""
    sizes = [len(graph["nodes"]) for graph in graphs]
    full = [torch.full((size, size), 1.0 / size) for size in sizes]
    return {
        "nodes": torch.cat([graph["nodes"] for graph in graphs]),
        "edges": torch.block_diag(*full),
        "pool": torch.block_diag(*[torch.full((1, size), 1.0 / size) for size in sizes]),
        "label": torch.stack([graph["label"] for graph in graphs]),
    }


class Equation(OwnLoop):
    """A differential equation: slopes by autograd.grad within the loss; points drawn anew."""

    def make(self) -> None:
        self.model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for start in batches([torch.zeros(1, 1)] * 5):
                x = torch.rand(32, 1, requires_grad=True)
                found = self.model(x)
                (slope,) = torch.autograd.grad(found.sum(), x, create_graph=True)
                loss = (slope + found).pow(2).mean() + (self.model(start) - 1).pow(2).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


TASKS = [PolicyGradient, ClippedPolicy, Pairs, Alignment, Packed, Graphs, Equation]
