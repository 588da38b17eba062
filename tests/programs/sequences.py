"""Networks for sequences: encoders with padding, decoders, recurrent networks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests.programs.program import Made, collector, tokens

SEQUENCE_NETWORKS, program = collector()
WORDS = 40


def as_bert(model: nn.Module) -> nn.Module:
    """Initial weights as BERT has them: a standard deviation of 0.02, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, 0, 0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return model


class Attention(nn.Module):
    """Attention as HuggingFace writes it: query, key and value are layers of their own."""

    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.dense = nn.Linear(width, width), nn.Linear(width, width)
        self.norm, self.drop, self.heads = nn.LayerNorm(width), nn.Dropout(drop), heads

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.view(n, length, self.heads, -1).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        score = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + mask[:, None, None, :]
        y = (self.drop(score.softmax(-1)) @ v).transpose(1, 2).reshape(n, length, width)
        return self.norm(x + self.drop(self.dense(y)))  # type: ignore[no-any-return]


class BertLayer(nn.Module):
    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.attention = Attention(width, 4, drop)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(drop)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.attention(x, mask)
        y = self.down(F.gelu(self.up(x)))
        return self.norm(x + self.drop(y))  # type: ignore[no-any-return]


class Bert(nn.Module):
    def __init__(self, depth: int = 6, width: int = 32, out: int = 2, shared: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width, padding_idx=0)
        self.places = nn.Embedding(16, width)
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(0.1)
        self.layers = nn.ModuleList([BertLayer(width, 0.1) for _ in range(1 if shared else depth)])
        self.repeat = depth if shared else 1
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, out)
        as_bert(self)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        mask = (x == 0) * -1e4
        h = self.words(x) + self.places(torch.arange(x.shape[1], device=x.device))
        h = self.drop(self.norm(h))
        for _ in range(self.repeat):
            for layer in self.layers:
                h = layer(h, mask)
        return h  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.pooler(self.encode(x)[:, 0]).tanh()
        return self.classifier(self.drop(h))  # type: ignore[no-any-return]


@program
def bert() -> Made:
    return Bert(), tokens(), {"loss_fn": nn.CrossEntropyLoss(), "optimizer": "adamw", "lr": 5e-4}


@program
def deep_bert_with_shared_layers() -> Made:
    return Bert(12, shared=True), tokens(), {"loss_fn": nn.CrossEntropyLoss(), "lr": 5e-4}


class MaskedModel(Bert):
    """Predicts masked words; the pooler stands idle, as in many checkpoints."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.encode(x)
        return h @ self.words.weight.T


@program
def masked_language_model() -> Made:
    x, _ = tokens()
    masked = (torch.rand(x.shape) < 0.15) & (x > 0)
    masked[:, 0] = True
    inputs, targets = x.masked_fill(masked, 2), x.masked_fill(~masked, -100)

    def loss_fn(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), y.flatten(), ignore_index=-100)

    model = MaskedModel(3)
    del model.classifier
    return model, (inputs, targets), {"loss_fn": loss_fn, "optimizer": "adamw", "lr": 1e-3}


class TextTransformer(nn.Module):
    """torch's own encoder, with padding and an average over the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        empty = x == 0
        h = self.body(self.words(x), src_key_padding_mask=empty)
        h = h.masked_fill(empty[:, :, None], 0.0).sum(1) / (~empty).sum(1, keepdim=True)
        return self.head(h)  # type: ignore[no-any-return]


@program
def transformer_encoder_with_padding() -> Made:
    return TextTransformer(), tokens(), {"loss_fn": nn.CrossEntropyLoss(), "lr": 5e-4}


class Gpt(nn.Module):
    """A decoder whose output layer shares the weights of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 32), nn.Embedding(16, 32)
        layer = nn.TransformerEncoderLayer(
            32, 4, 128, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 4, nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, WORDS, bias=False)
        as_bert(self)
        self.head.weight = self.words.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        h = self.words(x) + self.places(torch.arange(length))
        return self.head(self.body(h, mask, is_causal=True))  # type: ignore[no-any-return]


@program
def gpt_with_tied_weights() -> Made:
    x = (torch.randint(WORDS, (200, 1)) + torch.arange(13)) % WORDS

    def loss_fn(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs.transpose(1, 2), y)

    options = {"loss_fn": loss_fn, "optimizer": "adamw", "lr": 1e-3, "clip_mode": "norm"}
    return Gpt(), (x[:, :-1].contiguous(), x[:, 1:].contiguous()), options


class Tagger(nn.Module):
    """A class for each word, of packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16, padding_idx=0)
        self.body = nn.LSTM(16, 24, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.head = nn.Linear(48, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = (x > 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.words(x), lengths, batch_first=True, enforce_sorted=False
        )
        h, _ = nn.utils.rnn.pad_packed_sequence(
            self.body(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        return self.head(h)  # type: ignore[no-any-return]


@program
def tagger_with_padded_targets() -> Made:
    x, _ = tokens()
    y = (x % 3).masked_fill(x == 0, -1)

    def loss_fn(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(outputs.transpose(1, 2), y, ignore_index=-1, reduction="none")
        return (each * (y >= 0)).sum() / (y >= 0).sum()

    return Tagger(), (x, y), {"loss_fn": loss_fn, "lr": 5e-3}


class Translator(nn.Module):
    """Encoder and decoder with attention, taught by the right words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 32, padding_idx=0)
        self.body = nn.Transformer(32, 4, 2, 2, 64, 0.1, "relu", batch_first=True)
        self.head = nn.Linear(32, WORDS)

    def forward(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        source, target = inputs
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        h = self.body(
            self.words(source), self.words(target), tgt_mask=mask, tgt_is_causal=True,
            src_key_padding_mask=source == 0,
        )  # fmt: skip
        return self.head(h)  # type: ignore[no-any-return]


@program
def translator() -> Made:
    x, _ = tokens()
    y = x.flip(1) + 1

    def step_fn(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        source, target = batch
        outputs = model((source, target[:, :-1]))
        return F.cross_entropy(outputs.flatten(0, 1), target[:, 1:].flatten(), label_smoothing=0.1)

    return Translator(), (x, y % WORDS), {"step_fn": step_fn, "lr": 1e-3}
