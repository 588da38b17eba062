"""Small trainings to try the debugger on: sick ones with a planted fault, and healthy ones.

    from nbdebug import examples

    for name, training in examples.sick().items():
        print(name, "-", training.about)
    dbg = examples.sick()["deep sigmoids"].debugger()

Trainings on data sets of scikit-learn need the extra `lab`.
"""

from nbdebug.examples.catalogue import sick, sick_setups
from nbdebug.examples.data import digits, load
from nbdebug.examples.healthy_trainings import HealthyTraining, healthy
from nbdebug.examples.patients import diagnose, patient
from nbdebug.examples.setups.base import SickSetup
from nbdebug.examples.sick_training import SickTraining

__all__ = [
    "HealthyTraining",
    "SickSetup",
    "SickTraining",
    "diagnose",
    "digits",
    "healthy",
    "load",
    "patient",
    "sick",
    "sick_setups",
]
