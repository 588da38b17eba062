"""Tools to test plug-ins with, for their authors.

    from nbdebug import testing

    def test_my_rule():
        testing.check_rule(MyRule)

    def test_my_probe_on_my_model():
        with testing.Trainer(MyModel(), (X, y), loss_fn, probes=[MyProbe()]) as trainer:
            trainer.step(10)
            assert trainer.history.last("my_series") > 0

Each `check_...` raises PluginError with a sentence that says which part of the contract is not
kept. `Trainer` trains on the calling thread, so a debugger can step into a plug-in.
"""

from nbdebug.testing.check import check_check
from nbdebug.testing.control import check_control
from nbdebug.testing.probe import check_probe
from nbdebug.testing.problem import CNN, MLP, Problem
from nbdebug.testing.rule import check_rule
from nbdebug.testing.snapshot import snapshot
from nbdebug.testing.trainer import Trainer

__all__ = [
    "CNN",
    "MLP",
    "Problem",
    "Trainer",
    "check_check",
    "check_control",
    "check_probe",
    "check_rule",
    "snapshot",
]
