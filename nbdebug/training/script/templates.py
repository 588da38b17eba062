"""Helper functions of generated scripts."""

from __future__ import annotations


def comment(text: str) -> str:
    """Text for a comment: one line, without characters that end a line or a file."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


HELPERS = '''

def parameters(names):
    """Return parameters of the model by name."""
    return [model.get_parameter(name) for name in names]


def load(model, values):
    """Copy values into parameters and buffers of the model."""
    with torch.no_grad():
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, value in values.items():
            named[name].copy_(value)
'''
CLIP = '''

def clip(threshold):
    """Clip gradients as training did at this step."""
    held = {n: p for n, p in model.named_parameters() if p.grad is not None and p.requires_grad}
    norm, value = torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_
    if clip_mode in ("norm", "adaptive"):
        norm(held.values(), threshold, clip_norm_type)
    elif clip_mode == "value":
        value(held.values(), threshold)
    elif clip_mode == "parameter":
        for parameter in held.values():
            norm([parameter], threshold, clip_norm_type)
    elif clip_mode == "layer":
        for layer, names in layers.items():
            inside = [held[name] for name in names if name in held]
            norm(inside, clip_overrides.get(layer, threshold), clip_norm_type)
'''
