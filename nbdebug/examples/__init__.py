"""Small trainings to try the debugger on: sick ones with a planted fault, and healthy ones.

    from nbdebug import examples

    for name, training in examples.sick().items():
        print(name, "-", training.about)
    dbg = examples.sick()["deep sigmoids"].debugger()

Some are patients to guess at: `patient("A")` tells nothing, `guess("A", "deep sigmoids")` says if
that is its fault, and `reveal("A")` what it is; `levels()` says how hard each is. `exam(dbg)` tells
if the network reads digits after a cure.

Trainings on data sets of scikit-learn need the extra `lab`.
"""

from nbdebug.examples.catalogue import sick, sick_setups
from nbdebug.examples.data import digits, load
from nbdebug.examples.exams import Exam, exam
from nbdebug.examples.healthy_trainings import HealthyTraining, healthy
from nbdebug.examples.patients import diagnose, faults, guess, levels, patient, reveal
from nbdebug.examples.setups.base import SickSetup
from nbdebug.examples.sick_training import SickTraining

__all__ = [
    "Exam",
    "HealthyTraining",
    "SickSetup",
    "SickTraining",
    "diagnose",
    "digits",
    "exam",
    "faults",
    "guess",
    "healthy",
    "levels",
    "load",
    "patient",
    "reveal",
    "sick",
    "sick_setups",
]
