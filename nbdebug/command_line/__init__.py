"""`python -m nbdebug`: trainings of this machine that listen, without a notebook."""
