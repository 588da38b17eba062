from __future__ import annotations

import numpy as np
import pytest

from nbdebug.dashboard.view.mirror import Mirror, first_difference
from tests.dashboard.view.browser_replay import Replay


def content(packet, sequence=1):
    return [
        {
            "data": {
                "content": {
                    "kind": "tick",
                    "sequence": sequence,
                    "sources": packet.sources,
                    "props": packet.props,
                }
            },
            "buffers": [packet.buffer()],
        }
    ]


def joined() -> Replay:
    replay = Replay("view")
    replay.sequence = 0
    return replay


@pytest.mark.parametrize("seed", range(5))
def test_replaying_random_histories_gives_the_exact_data(seed):
    rng = np.random.default_rng(seed)
    mirror, replay = Mirror(), joined()
    values = np.empty(0)
    for sequence in range(1, 40):
        cut = rng.integers(0, len(values) + 1) if rng.random() < 0.3 else len(values)
        fresh = rng.normal(size=rng.integers(0, 30))
        fresh[rng.random(len(fresh)) < 0.1] = np.nan
        values = np.concatenate([values[:cut], fresh])
        names = [f"row {value:.2f}" for value in values]
        mirror.set_data("s", {"y": values, "name": names})
        replay.hear(content(mirror.tick(), sequence))
        assert np.array_equal(replay.data["s"]["y"], values, equal_nan=True)
        assert replay.data["s"]["name"] == names


def test_only_the_rows_from_the_first_difference_are_sent():
    mirror = Mirror()
    mirror.set_data("s", {"y": [1.0, 2.0, 3.0]})
    mirror.tick()
    mirror.set_data("s", {"y": [1.0, 2.0, 4.0, 5.0]})
    packet = mirror.tick()
    assert packet.sources == [["s", 2, 2, ["y"], {}]]
    assert np.frombuffer(packet.buffer()).tolist() == [4.0, 5.0]


def test_the_same_data_sends_nothing():
    mirror = Mirror()
    for _ in range(2):
        mirror.set_data("s", {"y": [1.0, np.nan]})
        mirror.set_prop("m", "visible", True)
        packet = mirror.tick()
    assert not packet


def test_a_shorter_source_is_truncated():
    mirror, replay = Mirror(), joined()
    for sequence, values in enumerate(([1.0, 2.0], [1.0]), start=1):
        mirror.set_data("s", {"y": values})
        replay.hear(content(mirror.tick(), sequence))
    assert replay.data["s"]["y"] == [1.0]


def test_sources_beyond_the_budget_wait_the_oldest_first():
    mirror, replay = Mirror(), joined()
    rows = np.arange(1000.0)
    for source in "abcd":
        mirror.set_data(source, {"x": rows, "y": rows})
    sizes, order = [], []
    for sequence in (1, 2):
        packet = mirror.tick(budget=35_000)
        sizes.append(len(packet.buffer()))
        order += [source[0] for source in packet.sources]
        replay.hear(content(packet, sequence))
        mirror.set_data("a", {"x": rows + sequence, "y": rows})
    assert order == ["a", "b", "c", "d"]
    assert max(sizes) <= 35_000
    assert replay.data["d"]["y"] == rows.tolist()


def test_a_source_larger_than_the_budget_goes_in_parts():
    mirror, replay = Mirror(), joined()
    rows = np.arange(900.0)
    mirror.set_data("s", {str(column): rows for column in range(10)})
    for sequence in range(1, 6):
        packet = mirror.tick(budget=20_000)
        assert len(packet.buffer()) <= 20_000
        replay.hear(content(packet, sequence))
    assert replay.data["s"]["9"] == rows.tolist()


@pytest.mark.parametrize("columns", [{"y": np.zeros(1001)}, {"x": [1.0], "y": [1.0, 2.0]}])
def test_columns_that_do_not_fit_are_refused(columns):
    with pytest.raises(ValueError, match=r"1001|equally long"):
        Mirror().set_data("s", columns)


def test_first_difference_of_other_columns_is_the_first_row():
    assert first_difference({"a": np.zeros(3)}, {"b": np.zeros(3)}) == 0


@pytest.mark.parametrize("promoted", [False, True])
def test_what_is_recorded_of_a_model_that_no_view_has_waits(promoted):
    shown = {"s"}
    mirror = Mirror(shown.__contains__)
    for model in ("s", "t"):
        mirror.set_data(model, {"y": [1.0]})
        mirror.set_prop(model, "visible", True)
    if promoted:
        mirror.promote()
    sent = mirror.everything() if promoted else mirror.tick()
    assert [source[0] for source in sent.sources] == ["s"]
    assert sent.props == [["s", "visible", True]]
    shown.add("t")
    later = mirror.tick()
    assert later.sources == [["t", 0, 1, ["y"], {}]]
    assert later.props == [["t", "visible", True]]
    assert len(mirror.everything().sources) == 2
