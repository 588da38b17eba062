"""Findings that explain other findings; the dashboard lists consequences under their cause."""

from __future__ import annotations

from collections.abc import Iterable

# Almost every fault keeps the loss from falling.
NO_PROGRESS = (
    "not_learning", "no_better_than_constant", "constant_data_term", "too_slow", "loss_stays_high",
    "few_epochs",
)  # fmt: skip

EXPLAINS: dict[str, tuple[str, ...]] = {
    "failed_check": (
        *NO_PROGRESS, "constant_output", "dead_units", "saturated_units", "vanishing_gradients",
        "exploding_gradients", "unchanged_parameters", "updates_too_small", "updates_too_large",
        "not_finite", "diverging", "oscillating", "gradient_spike", "overfitting",
        "suspicious_validation", "stale_batchnorm", "variance_shift", "clipping_too_hard",
        "unbounded_loss",
    ),
    "warned_check": (*NO_PROGRESS, "constant_output", "overfitting"),
    "harmful_change": (
        *NO_PROGRESS, "diverging", "oscillating", "exploding_gradients", "gradient_spike",
        "not_finite", "updates_too_large", "updates_too_small", "dead_units", "constant_output",
        "saturated_units", "unchanged_parameters", "vanishing_gradients", "clipping_too_hard",
        "heavy_dropout", "weight_decay_dominates",
    ),
    "cleared_gradients": (
        *NO_PROGRESS, "unchanged_parameters", "updates_too_small", "vanishing_gradients",
        "weight_decay_dominates",
    ),
    "repeated_backward": (
        "updates_too_large", "diverging", "oscillating", "exploding_gradients", "gradient_spike",
        "clipping_too_hard",
    ),
    "summed_losses": (
        *NO_PROGRESS, "updates_too_large", "diverging", "oscillating", "exploding_gradients",
        "gradient_spike", "clipping_too_hard", "memory_growth", "not_finite",
    ),
    "updates_taken_back": (
        *NO_PROGRESS, "updates_too_small", "unchanged_parameters", "few_updates", "missed_class",
        "weight_decay_dominates",
    ),
    "undivided_losses": (
        "updates_too_large", "diverging", "oscillating", "exploding_gradients",
        "gradient_spike", "not_finite", "dead_units", "saturated_units", "constant_output",
        "clipping_too_hard",
    ),
    "early_clipping": (
        "updates_too_large", "diverging", "oscillating", "exploding_gradients", "gradient_spike",
        "not_finite",
    ),
    "renewed_optimizer": (
        *NO_PROGRESS, "updates_too_large", "diverging", "oscillating", "gradient_spike",
    ),
    "bounded_weights": (
        *NO_PROGRESS, "updates_too_small", "updates_too_large", "constant_output", "missed_class",
        "vanishing_gradients", "unchanged_parameters", "dead_units",
    ),
    "cut_passes": (
        *NO_PROGRESS, "oscillating", "overfitting", "suspicious_validation", "missed_class",
        "few_updates",
    ),
    "falling_reward": NO_PROGRESS,
    "stale_target": NO_PROGRESS,
    "lost_batches": (
        *NO_PROGRESS, "oscillating", "few_updates", "updates_too_small", "missed_class",
        "constant_output",
    ),
    "one_sided_targets": ("constant_output", "vanishing_gradients", "saturated_units"),
    "scaled_update": (
        *NO_PROGRESS, "updates_too_large", "diverging", "oscillating", "exploding_gradients",
        "gradient_spike", "not_finite", "dead_units", "saturated_units", "constant_output",
        "clipping_too_hard", "failed_check", "warned_check",
    ),
    "scaled_clipping": (*NO_PROGRESS, "updates_too_small", "clipping_too_hard"),
    "validation_in_train_mode": ("stale_batchnorm", "overfitting", "suspicious_validation"),
    "validation_rows": ("overfitting", "suspicious_validation"),
    "validation_inputs": ("overfitting", "suspicious_validation"),
    "updates_in_eval": ("stale_batchnorm", "overfitting"),
    "updates_outside": ("suspicious_validation",),
    "schedule_use": (
        *NO_PROGRESS, "schedule_ended", "updates_too_small", "unchanged_parameters",
    ),
    "plateau_direction": (
        *NO_PROGRESS, "schedule_ended", "updates_too_small", "unchanged_parameters",
    ),
    "schedule_ended": (*NO_PROGRESS, "updates_too_small", "unchanged_parameters"),
    "climbing_updates": (
        *NO_PROGRESS, "diverging", "oscillating", "exploding_gradients", "gradient_spike",
        "not_finite", "updates_too_large", "dead_units", "constant_output", "saturated_units",
        "vanishing_gradients",
    ),
    "unbounded_loss": (
        "exploding_gradients", "gradient_spike", "not_finite", "updates_too_large", "dead_units",
        "saturated_units",
    ),
    "missing_zero_grad": (
        *NO_PROGRESS, "diverging", "oscillating", "exploding_gradients", "gradient_spike",
        "not_finite", "updates_too_large", "dead_units", "constant_output", "saturated_units",
    ),
    "updates_too_large": (
        *NO_PROGRESS, "dead_units", "saturated_units", "constant_output", "unchanged_parameters",
        "diverging", "gradient_spike", "oscillating", "exploding_gradients", "not_finite",
        "stale_batchnorm",
    ),
    "dead_units": (
        *NO_PROGRESS, "constant_output", "unchanged_parameters", "vanishing_gradients",
        "updates_too_small",
    ),
    "saturated_units": (
        *NO_PROGRESS, "constant_output", "unchanged_parameters", "vanishing_gradients",
        "updates_too_small",
    ),
    "vanishing_gradients": (
        *NO_PROGRESS, "constant_output", "unchanged_parameters", "updates_too_small",
    ),
    "constant_output": (*NO_PROGRESS, "missed_class", "unchanged_parameters", "updates_too_small"),
    "exploding_gradients": (*NO_PROGRESS, "not_finite", "diverging", "gradient_spike"),
    "unchanged_parameters": (*NO_PROGRESS, "updates_too_small"),
    "updates_too_small": (*NO_PROGRESS, "few_updates", "missed_class"),
    "few_updates": (*NO_PROGRESS, "missed_class"),
    "weight_decay_dominates": (
        *NO_PROGRESS, "updates_too_large", "vanishing_gradients", "constant_output",
    ),
    "clipping_too_hard": (*NO_PROGRESS, "updates_too_small"),
    "heavy_dropout": (*NO_PROGRESS, "suspicious_validation"),
    "variance_shift": ("stale_batchnorm",),
    "stale_batchnorm": ("overfitting",),
    "tiny_batchnorm": (*NO_PROGRESS, "stale_batchnorm", "gradient_spike", "suspicious_validation"),
    "oscillating": NO_PROGRESS,
    "lr_edits_fight": ("oscillating", "diverging"),
    "schedule_undoes_edit": ("diverging",),
    "diverging": (
        *NO_PROGRESS, "gradient_spike", "not_finite", "unchanged_parameters", "updates_too_small",
        "vanishing_gradients", "constant_output", "saturated_units",
    ),
    "gradient_spike": (
        *NO_PROGRESS, "not_finite", "constant_output", "unchanged_parameters", "updates_too_small",
    ),
    "too_slow": ("no_better_than_constant", "not_learning", "loss_stays_high", "few_epochs"),
    "not_learning": ("missed_class", "loss_stays_high"),
    "no_better_than_constant": ("not_learning", "missed_class", "loss_stays_high", "few_epochs"),
    "constant_data_term": ("not_learning", "loss_stays_high", "too_slow", "few_epochs"),
    "few_epochs": ("missed_class",),
}  # fmt: skip


def root_of(name: str, present: Iterable[str]) -> str:
    """Name of the root cause of a finding among those present; its own name if it is a root."""
    there, seen = set(present), [name]
    while True:
        above = [
            cause
            for cause, follow in EXPLAINS.items()
            if cause in there and seen[-1] in follow and cause not in seen
        ]
        if not above:
            return seen[-1]
        seen.append(above[0])
