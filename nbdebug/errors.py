"""Every error nbdebug raises.

NbdebugError
├── ArgumentError (TypeError)        a misspelt keyword, or one missing
├── ControlValueError (ValueError)   a value outside a control's range
├── ControlNameError (KeyError)      a control that does not exist
├── CheckNameError (KeyError)        a check that does not exist
├── CheckStopped (RuntimeError)      a check that was stopped on request
├── TaskStopped (RuntimeError)       a run, fork, rewind or replay that was ended early
├── ScriptError (ValueError)         a training that cannot be written as a plain program
├── CheckpointError (ValueError)     a checkpoint on disk that is not there, or does not fit
├── DataError (ValueError)           data that cannot be trained on
├── ModelError (ValueError)          a model or optimizer that cannot be trained
├── LossError (ValueError)           a loss that is not a scalar, or has no gradient
├── NonFiniteError (ArithmeticError) loss or gradient became NaN or infinite
├── MissingPackageError (ImportError) an optional package that is not installed
├── RunNameError (KeyError)          a run that is not in the store
├── RunStoreError (OSError)          a store of runs that cannot be read or written
├── OutputError (OSError)            a file or folder asked for that cannot be written
├── SeriesError (KeyError)           a series that History does not hold
├── PluginError (RuntimeError)       a plug-in that does not keep its contract
├── LinkError (ConnectionError)      a training in another process that cannot be reached
├── SteeringError (RuntimeError)     a command to a training that somebody else steers
├── RanksError (RuntimeError)        a command that several ranks do not do, or cannot be told of
├── ElsewhereError (RuntimeError)    an object that lives in the process of the training
├── RemoteError (RuntimeError)       an exception of another process, of an unknown class
├── InsideStepError (RuntimeError)   a command that would wait for the step it was given in
├── LoopLeft (RuntimeError)          no loop of the user's own that could make the next step
├── NotRepeatableError (RuntimeError) a step that was made twice differs: nothing goes back
└── ClosedError (RuntimeError)       a Debugger that was closed
"""

from __future__ import annotations

from typing import Literal

NonFiniteOrigin = Literal["", "data", "outputs", "module", "operation", "loss", "gradient"]


class NbdebugError(Exception):
    """Base of all errors that nbdebug raises on purpose."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; a sentence reads better plain.
        return " ".join(str(argument) for argument in self.args)


class ArgumentError(NbdebugError, TypeError):
    """A keyword that does not exist, or one that is missing."""


class ControlValueError(NbdebugError, ValueError):
    """A value that the control cannot take; nothing was changed, or the message says what."""


class ControlNameError(NbdebugError, KeyError):
    """A control that does not exist; nothing was changed."""


class CheckNameError(NbdebugError, KeyError):
    """A check that does not exist, or was not run."""


class CheckStopped(NbdebugError, RuntimeError):  # noqa: N818
    """A check that was stopped on request; everything was put back."""


class TaskStopped(NbdebugError, RuntimeError):  # noqa: N818
    """A command was ended before it was done.

    A fork, a rewind, a replay or a search that was stopped leaves training where it was. A run
    that another command ended (run, rewind, reset, keep_fork) leaves training where that command
    put it, as the message says.
    """


class ScriptError(NbdebugError, ValueError):
    """A training that cannot be written as a plain program."""


class CheckpointError(NbdebugError, ValueError):
    """A checkpoint on disk that is not there, or does not fit."""


class DataError(NbdebugError, ValueError):
    """Data that cannot be trained on."""


class ModelError(NbdebugError, ValueError):
    """A model or an optimizer that cannot be trained."""


class LossError(NbdebugError, ValueError):
    """A loss that is not a scalar tensor, or that does not require a gradient."""


class NonFiniteError(NbdebugError, ArithmeticError):
    """Loss or gradient is NaN or infinite; the update was not made.

    Attributes:
        origin: where it was seen first: "data", "outputs", "module", "loss" or "gradient";
            "operation" for one whose argument is outside its domain, such as the logarithm
            of 0; "" where that is not known.
    """

    def __init__(self, *arguments: object, origin: NonFiniteOrigin = "") -> None:
        super().__init__(*arguments)
        self.origin: NonFiniteOrigin = origin


class MissingPackageError(NbdebugError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


class RunNameError(NbdebugError, KeyError):
    """A run that is not in the store."""


class RunStoreError(NbdebugError, OSError):
    """A store of runs, or a file that holds one, that cannot be read or written."""


class OutputError(NbdebugError, OSError):
    """A file or folder that was asked for, and that cannot be written there."""


class SeriesError(NbdebugError, KeyError):
    """A series that History does not hold."""


class PluginError(NbdebugError, RuntimeError):
    """A plug-in that does not keep its contract."""


class LinkError(NbdebugError, ConnectionError):
    """A training in another process cannot be reached, or does not answer."""


class SteeringError(NbdebugError, RuntimeError):
    """Somebody else steers this training; nothing was changed."""


class ElsewhereError(NbdebugError, RuntimeError):
    """This lives in the process of the training, and cannot be had from here."""


class RanksError(NbdebugError, RuntimeError):
    """This is not done where several ranks train together, or they are not to be reached."""


class RemoteError(NbdebugError, RuntimeError):
    """An exception that was raised in another process, of a class that is not known here."""


class InsideStepError(NbdebugError, RuntimeError):
    """A command was given by code that training runs, and would wait for itself."""


# No loop runs; it was left within a step; its steps cannot be made again.
LeftKind = Literal["no_loop", "left", "cannot_repeat"]


class LoopLeft(NbdebugError, RuntimeError):  # noqa: N818
    """There is no loop of the user's that could make the next step.

    Attributes:
        kind: what code may go by; the message may be reworded.
    """

    def __init__(self, message: str = "", kind: LeftKind = "left") -> None:
        super().__init__(message)
        self.kind = kind


class NotRepeatableError(NbdebugError, RuntimeError):
    """A step that was made twice differs: training cannot go back."""


class ClosedError(NbdebugError, RuntimeError):
    """The Debugger was closed; make a new one."""
