"""Error messages for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

MAX_LISTED_NAMES = 8
# Words of other libraries, each with the name that it has here.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning_rate", "learningrate", "base_lr", "init_lr", "initial_lr", "eta", "step_size"),
    "batch_size": ("bs", "batch", "batchsize", "bsz", "minibatch_size", "train_batch_size"),
    "accumulate": (
        "accumulate_grad_batches", "gradient_accumulation_steps", "grad_accum", "accum_steps",
        "accumulation_steps", "grad_accum_steps", "accumulation", "gradient_accumulation",
        "grad_accumulation_steps", "accumulate_grad", "iters_to_accumulate",
    ),
    "weight_decay": ("wd", "weightdecay", "l2", "l2_reg"),
    "clip_threshold": (
        "clipnorm", "max_norm", "max_grad_norm", "clip_norm", "grad_clip", "grad_clip_norm",
        "gradient_clip", "gradient_clip_val", "gradient_clipping", "global_clipnorm", "clipvalue",
        "clip_value", "clip_grad_norm", "clip",
    ),
    "clip_mode": ("clipping", "clip_method", "gradient_clip_algorithm"),
    "schedule": ("lr_scheduler", "scheduler", "lr_schedule", "lr_scheduler_type"),
    "schedule_steps": ("t_max", "total_steps"),
    "schedule_factor": ("gamma", "decay_rate", "lr_decay"),
    "warmup_steps": ("warmup", "num_warmup_steps", "warm_up"),
    "loss_fn": ("criterion", "loss", "loss_func", "loss_function", "objective", "crit"),
    "step_fn": ("training_step", "train_step", "step_function"),
    "optimizer": ("optim", "opt", "optimiser", "optimizers"),
    "train_data": (
        "train_loader", "trainloader", "train_dataloader", "train_dl", "train_set", "trainset",
        "train_dataset", "train_ds", "dataloader", "loader", "dataset", "data", "dataloaders",
    ),
    "val_data": (
        "val_loader", "valloader", "val_dataloader", "val_dl", "valid_loader", "valid_data",
        "validation_data", "val_dataset", "val_ds", "valid_dl", "eval_dataset", "test_loader",
        "test_data", "validation_loader",
    ),
    "val_every": ("eval_every", "val_check_interval", "validate_every", "eval_steps"),
    "metrics": ("metric", "compute_metrics"),
    "model": ("net", "network", "module"),
    "seed": ("random_state", "random_seed", "manual_seed", "rng"),
    "scaler": ("grad_scaler", "amp_scaler"),
    "momentum": ("beta1", "betas", "mom"),
    "dropout": ("drop", "dropout_rate", "drop_rate", "dropout_p", "p"),
    "layer_order": ("order",),
    "frozen": ("freeze", "freeze_layers"),
    "name": ("run_name", "experiment_name", "title", "project_name"),
    "runs": ("log_dir", "logger", "tracking_uri"),
    "epochs": ("epoch", "max_epochs", "num_epochs", "n_epochs", "num_train_epochs", "nb_epoch"),
    "steps": ("step", "max_steps", "num_steps", "n_steps", "iterations", "max_iter", "n"),
    "start": ("at", "from_step", "begin"),
}  # fmt: skip
OURS = {word: name for name, words in SYNONYMS.items() for word in words}
LENGTHS = ("epochs", "steps")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Build the message for an unknown name: the closest known one, or else all of them."""
    names = sorted(set(known))
    hint = did_you_mean(name, names)
    text = f"There is no {kind} {name!r:.80}.{hint}"
    if hint and len(names) > MAX_LISTED_NAMES:
        return text
    return f"{text} There are: {', '.join(names) or 'none'}."


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Sentence with the closest known name, with a space before it; "" if none is close."""
    near = difflib.get_close_matches(str(name), sorted(set(known)), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown_keyword(
    kind: str, name: str, known: Iterable[str], elsewhere: Iterable[str] = ()
) -> str:
    """Build the message for an unknown keyword: its name here, the closest one, or all of them.

    Args:
        kind: of the keyword, as "control"; known: keywords of this call.
        elsewhere: keywords of the constructor.
    """
    names, word = set(known), name.lower()
    ours = OURS.get(word, word)
    if ours in names:
        clip = ' with clip_mode="norm"' if ours == "clip_threshold" else ""
        clip = ' with clip_mode="value"' if word in ("clipvalue", "clip_value") else clip
        return f"{name} is called {ours} here{clip}."
    if ours in LENGTHS:
        return f"{name} is no {kind}: say how long when you train, with run({ours}=...)."
    if ours in elsewhere:
        return f"{name} is no {kind}: it is given to nbd.Debugger(...), as {ours}=."
    words = {w: n for w, n in OURS.items() if n in names} | {n: n for n in names}
    near = difflib.get_close_matches(word, sorted(words), n=1)
    if near:
        return f"There is no {kind} {name!r:.80}. Did you mean {words[near[0]]!r}?"
    return unknown_name(kind, name, names)
