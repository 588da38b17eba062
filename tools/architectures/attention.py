"""Transformers, and other networks of blocks over positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from tools.architectures.base import (
    TOKENS,
    Architecture,
    digits,
    flat_digits,
    next_tokens,
    sentences,
    token_loss,
)

WIDTH = 16


def mlp(width: int = WIDTH, inner: int = 4 * WIDTH) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class Attention(nn.Module):
    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal, self.qkv = causal, nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        query, key, value = self.qkv(x).view(n, t, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).reshape(n, t, WIDTH))


class Block(nn.Module):
    """Attention and MLP, each normalised before."""

    def __init__(self, causal: bool = False, feed: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention(causal)
        self.norm2, self.feed = nn.LayerNorm(WIDTH), feed or mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class PostNorm(Block):
    """Each normalised after the sum, as in the first paper."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feed(x))


class ReZero(Block):
    """Branches that begin at 0 (Bachlechner et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = self.norm2 = nn.Identity()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.alpha * self.attention(x)
        return x + self.alpha * self.feed(x)


class Encoder(nn.Module):
    """Tokens, positions, blocks, mean over positions."""

    def __init__(self, block: Callable[[], nn.Module], depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(1, 13, WIDTH))
        self.blocks = nn.Sequential(*(block() for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.embed(tokens) + self.places[:, : tokens.shape[1]])
        return self.head(self.norm(x).mean(1))


class Decoder(Encoder):
    """Logits of the next token at each position."""

    def __init__(self, tied: bool = False, block: Callable[[], nn.Module] | None = None) -> None:
        super().__init__(block or (lambda: Block(causal=True)))
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.embed(tokens) + self.places[:, : tokens.shape[1]])
        return self.head(self.norm(x))


class Repeated(nn.Module):
    """One block that is called several times, as in ALBERT."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = self.block(x)
        return x


class Universal(Repeated):
    """One block, with an embedding of the depth (Dehghani et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Parameter(0.02 * torch.randn(3, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for depth in self.depth:
            x = self.block(x + depth)
        return x


class Experts(nn.Module):
    """Each position goes to one of the experts, weighted by its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(mlp(inner=WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, chosen = self.gate(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = chosen == number
            out[rows] = expert(x[rows]) * weight[rows][:, None]
        return out


class Lora(nn.Module):
    """A frozen layer, and a product of small matrices that begins at 0."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


def lora() -> nn.Module:
    model = Encoder(Block).requires_grad_(False)
    for block in model.blocks:
        block.attention.qkv = Lora(block.attention.qkv)
        block.feed[0] = Lora(block.feed[0])
    model.head.requires_grad_(True)
    return model


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(0.02 * torch.randn(1, 17, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class MixerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.tokens = nn.LayerNorm(WIDTH), mlp(16, 32)
        self.norm2, self.channels = nn.LayerNorm(WIDTH), mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class GatedBlock(nn.Module):
    """gMLP: the spatial gate begins near 1 (Liu et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.gate_norm, self.space = nn.LayerNorm(WIDTH), nn.Conv1d(16, 16, 1)
        self.last = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(self.space.weight, std=1e-3)
        nn.init.ones_(self.space.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, gate = nn.functional.gelu(self.first(self.norm(x))).chunk(2, -1)
        return x + self.last(kept * self.space(self.gate_norm(gate)))


class Patched(nn.Module):
    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.blocks = nn.Sequential(block(), block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


class Latents(nn.Module):
    """Perceiver: a few learnt queries attend to all pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.queries = nn.Linear(1, WIDTH), nn.Parameter(torch.randn(4, WIDTH))
        self.places = nn.Parameter(0.1 * torch.randn(64, WIDTH))
        self.cross = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.block, self.head = Block(), nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x[:, :, None]) + self.places
        queries = self.queries.expand(len(x), -1, -1)
        return self.head(self.block(self.cross(queries, x, x)[0] + queries).mean(1))


class Library(nn.Module):
    """PyTorch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens)).mean(1))


ATTENTION: Mapping[str, Architecture] = {
    "encoder, pre-norm": Architecture(lambda: Encoder(Block), sentences),
    "encoder, post-norm": Architecture(lambda: Encoder(PostNorm), sentences),
    "encoder of PyTorch": Architecture(Library, sentences),
    "ReZero": Architecture(lambda: Encoder(ReZero), sentences),
    "ALBERT": Architecture(lambda: Encoder(Repeated, 1), sentences),
    "universal transformer": Architecture(lambda: Encoder(Universal, 1), sentences),
    "mixture of experts": Architecture(lambda: Encoder(lambda: Block(feed=Experts())), sentences),
    "LoRA": Architecture(lora, sentences),
    "decoder": Architecture(Decoder, next_tokens, token_loss),
    "decoder, tied": Architecture(lambda: Decoder(tied=True), next_tokens, token_loss),
    "ViT": Architecture(ViT, digits),
    "MLP-mixer": Architecture(lambda: Patched(MixerBlock), digits),
    "gMLP": Architecture(lambda: Patched(GatedBlock), digits),
    "Perceiver": Architecture(Latents, flat_digits, settings={"lr": 3e-3}),
}
