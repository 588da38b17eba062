"""Healthy programs of many kinds, on which no check may fail and no rule may give an error."""

from tests.programs.loops import LOOPS
from tests.programs.losses import LOSSES
from tests.programs.networks import IMAGE_NETWORKS
from tests.programs.program import Program
from tests.programs.sequences import SEQUENCE_NETWORKS

PROGRAMS: dict[str, Program] = {
    program.name: program for program in (*IMAGE_NETWORKS, *SEQUENCE_NETWORKS, *LOSSES, *LOOPS)
}

__all__ = ["PROGRAMS", "Program"]
