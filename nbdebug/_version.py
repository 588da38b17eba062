"""The version of nbdebug; the build reads it here."""

__version__ = "0.1.0"
