"""Trainers of other packages, watched by nbdebug: one module each."""
