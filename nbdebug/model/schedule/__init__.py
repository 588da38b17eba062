"""Learning-rate schedules that change while training runs."""
