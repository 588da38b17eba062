"""`python -m nbdebug`: the quickstart, and trainings of this machine that listen."""

from __future__ import annotations

import sys

from nbdebug.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
