"""Sources are found with what they need, also where code comes from a cell."""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from nbdebug.errors import ScriptError
from nbdebug.model.source_code import Sources
from nbdebug.training.script.constructors import expression

CELL = '''
import math
import torch.nn.functional as F
from torch import nn

WIDTH, SCALE = 4, 0.5

def decorate(kind):
    return kind

def halve(x):
    return SCALE * x

class Base(nn.Module):
    def shared(self, x):
        return F.relu(x) * math.sqrt(4)

@decorate
class Net(Base):
    """From a cell."""

    def __init__(self, width=WIDTH):
        super().__init__()
        self.layer = nn.Linear(3, width)

    def forward(self, x):
        return halve(self.shared(self.layer(x)))
'''


@pytest.fixture
def cell() -> Iterator[types.ModuleType]:
    """A module as a notebook has it: without a file, its cells in linecache alone."""
    module = types.ModuleType("a_notebook")
    sys.modules["a_notebook"] = module
    name = "/tmp/ipykernel_1/1.py"
    linecache.cache[name] = (len(CELL), None, CELL.splitlines(True), name)
    exec(compile(CELL, name, "exec"), vars(module))
    yield module
    del sys.modules["a_notebook"], linecache.cache[name]


def test_a_model_from_a_cell_is_built_again(cell: types.ModuleType) -> None:
    sources = Sources()
    torch.manual_seed(0)
    wanted = cell.Net()
    text = expression(wanted, sources)
    program = "\n".join([*sources.imports, *sources.definitions])
    found: dict[str, object] = {}
    exec(program, found)
    torch.manual_seed(0)
    made = eval(text, found)
    assert type(made) is not cell.Net
    x = torch.randn(5, 3)
    assert torch.equal(made(x), wanted(x))
    assert "@decorate" in program


def test_what_is_installed_is_imported() -> None:
    sources = Sources()
    assert sources.add(nn.functional.cross_entropy) == "cross_entropy"
    assert list(sources.imports) == ["from torch.nn.functional import cross_entropy"]
    assert sources.definitions == []


LARGE = torch.zeros(3)


def uses_a_tensor(x: torch.Tensor) -> torch.Tensor:
    return x + LARGE


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ScriptError, match="LARGE, a Tensor that your code uses"):
        Sources().add(uses_a_tensor)
    with pytest.raises(ScriptError, match="give it a name by def"):
        Sources().add(lambda x: x)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 4, bias=False), nn.Conv2d(1, 2, 3, padding="same"), nn.BatchNorm1d(4),
        nn.Dropout(0.25), nn.GELU("tanh"), nn.LayerNorm(4), nn.Embedding(5, 3, padding_idx=0),
        nn.GRU(3, 4, num_layers=2, batch_first=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.GroupNorm(2, 4), nn.LeakyReLU(0.2), nn.Softmax(1), nn.Identity(),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_of_torch_are_built_as_they_print_themselves(layer: nn.Module) -> None:
    sources = Sources()
    model = nn.Sequential(layer)
    made = eval(expression(model, sources), {"nn": nn})
    assert repr(made) == repr(model)
    assert made.state_dict().keys() == model.state_dict().keys()


def test_a_class_that_needs_arguments_is_refused_with_the_way_out() -> None:
    class Needs(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(width, width)

    with pytest.raises(ScriptError, match=r'model="Needs\(\.\.\.\)"'):
        expression(Needs(3), Sources())


def test_a_class_whose_file_is_no_python_has_no_source(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("It's no Python.")
    space = {"__name__": "__main__", "nn": nn}
    exec(compile("class Net(nn.Module):\n    def forward(self, x): return x", page, "exec"), space)
    with pytest.raises(ScriptError, match="The source of Net cannot be found"):
        Sources().add(space["Net"])
