"""Version of nbdebug, which the build reads here, and the name it is installed by."""

__version__ = "0.2.0.dev0"

# The package index has a project of others under the name `nbdebug`.
DISTRIBUTION = "nbdebug-torch"


def install_line(extra: str) -> str:
    """Command that installs nbdebug with one of its extras."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
