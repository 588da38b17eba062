"""What programs are made of: verbs with their arguments, drawn at random."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.story.plain_training import EXCLUDED
from tests.story.problem import Problem

Verb = tuple[Any, ...]
REFUSED = (
    {"lr": -1.0}, {"lr": "fast"}, {"batch_size": 0}, {"batch_size": 2.5}, {"momentum": 1.0},
    {"dropout": 1.0}, {"clip_mode": "hard"}, {"clip_threshold": 0.0}, {"optimizer": "lion"},
    {EXCLUDED: [10**6]}, {"relabelled": {0: -1}}, {"relabelled": [1]}, {"schedule": "spiral"},
    {"frozen": {"nowhere": "frozen"}}, {"learning_rate": 0.1}, {"lr": float("nan")},
    {"lr": 0.01, "weight_decay": -1.0},
)  # fmt: skip
EXAMINATIONS = ("initial_loss", "zero_gradient", "label_range")


def verbs(problem: Problem) -> st.SearchStrategy[Verb]:
    """One verb with its arguments."""
    few, share = st.integers(0, 4), st.just(1.0) | st.floats(0, 1, width=16)
    change = st.tuples(st.just("set"), controls(problem))
    return st.one_of(
        change,
        change,
        st.tuples(st.just("run"), few),
        st.tuples(st.just("run"), st.integers(1, 9)),
        st.tuples(st.just("run_epochs"), st.sampled_from([0.25, 0.5, 1])),
        st.tuples(st.just("rewind"), share),
        st.tuples(st.just("rewind_by"), st.integers(1, 6)),
        st.tuples(st.just("rewind_to"), st.sampled_from("ab")),
        st.tuples(st.just("checkpoint"), st.sampled_from("ab")),
        st.tuples(st.just("fork"), few, controls(problem), st.none() | share, st.booleans()),
        st.tuples(st.just("keep"), st.integers(0, 3)),
        st.tuples(st.just("undo"), st.sampled_from([False, False, True])),
        st.tuples(st.just("replay")),
        st.tuples(st.just("reset")),
        st.tuples(st.just("look"), st.sampled_from(["note", "sweep", "summary", *EXAMINATIONS])),
        st.tuples(st.just("refused"), st.sampled_from(REFUSED)),
        st.tuples(st.just("lost"), st.sampled_from(["ahead", "nameless", "back", "steps", "fork"])),
    )


def controls(problem: Problem) -> st.SearchStrategy[dict[str, Any]]:
    """New values of one control, or of two that do not depend on each other."""
    samples = len(problem.data[1])
    some = st.sets(st.integers(0, samples - 1), max_size=4)
    layers = [name for name, child in problem.model.named_children() if list(child.parameters())]
    values: dict[str, st.SearchStrategy[Any]] = {
        "lr": st.sampled_from([1e-3, 3e-3, 0.01, 0.03, 0.1]),
        "batch_size": st.integers(2, 13),
        "clip_mode": st.sampled_from(["off", "norm", "value", "parameter", "layer", "adaptive"]),
        "clip_threshold": st.sampled_from([0.01, 0.1, 0.5, 1.0]),
        "clip_norm_type": st.sampled_from(["1", "2", "inf"]),
        "weight_decay": st.sampled_from([0.0, 1e-3, 0.02]),
        "momentum": st.sampled_from([0.0, 0.5, 0.8]),
        "beta2": st.sampled_from([0.9, 0.95]),
        "optimizer": st.sampled_from(["sgd", "nesterov", "adam", "adamw", "rmsprop"]),
        "schedule": st.sampled_from(
            ["constant", "step", "exponential", "inverse_time", "cosine", "warm_restarts",
             "one_cycle"]
        ),
        "dropout": st.sampled_from([0.0, 0.25, 0.6]),
        "layer_order": st.sampled_from(sorted(problem.orders) or ["dropout_norm"]),
        "activation": st.sampled_from(["as_built", "tanh", "gelu"]),
        "bn_momentum": st.sampled_from([0.0, 0.1, 0.5]),
        "bn_statistics": st.sampled_from(["track", "freeze"]),
        "not_finite": st.sampled_from(["stop", "exclude"]),
        "reinit": st.sampled_from(["default", "undo"]),
        "frozen": st.dictionaries(
            st.sampled_from(layers), st.sampled_from(["frozen", "trainable"]), min_size=1
        ),
        EXCLUDED: some.map(lambda found: tuple(sorted(found))),
        "relabelled": st.dictionaries(
            st.integers(0, samples - 1), st.integers(0, problem.classes - 1), max_size=4
        ),
    }  # fmt: skip
    one = st.one_of([st.fixed_dictionaries({name: v}) for name, v in values.items()])
    pair = st.fixed_dictionaries({n: values[n] for n in ("lr", "batch_size", "dropout")})
    return one | one | one | pair
