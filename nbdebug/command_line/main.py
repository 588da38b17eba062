"""Arguments of the command line, and its errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from nbdebug._version import __version__
from nbdebug.command_line import acts
from nbdebug.command_line.demo import demo
from nbdebug.core.error_text import message_of
from nbdebug.errors import NbdebugError

FAILED = 2
DESCRIPTION = (
    "demo opens the quickstart. The other commands look at trainings of this machine that listen: "
    "a script with serve=True, or with NBDEBUG_SERVE=1 in its environment."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"nbdebug: {message}. {self.prog} --help tells more.\n")


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    made = _Parser("python -m nbdebug", description=DESCRIPTION)
    made.add_argument("--version", action="version", version=__version__)
    # Of those of the same name.
    process = _Parser(add_help=False)
    process.add_argument("--process", type=int, help="id of the process, if several have the name")
    steer = _Parser(add_help=False)
    steer.add_argument("--take-over", action="store_true", help="steer in place of who does")
    name = _Parser(add_help=False)
    name.add_argument("name", help="of the training")
    commands = made.add_subparsers(dest="command", required=True, parser_class=_Parser)
    first = commands.add_parser("demo", help="write the quickstart, and open it in JupyterLab")
    first.add_argument("folder", nargs="?", default=".", help="where to; by default, here")
    first.add_argument("--write-only", action="store_true", help="write it, open nothing")
    first.set_defaults(act=demo)
    commands.add_parser("list", help="list the trainings").set_defaults(act=acts.list_all)
    show = commands.add_parser("show", parents=[name, process], help="state, controls, findings")
    show.set_defaults(act=acts.show)
    change = commands.add_parser("set", parents=[name, process, steer], help="change controls")
    change.add_argument("settings", nargs="+", metavar="CONTROL=VALUE", help="such as lr=1e-3")
    change.add_argument("--why", default="", help="a reason, recorded with the change")
    change.set_defaults(act=acts.change)
    for word, says in (("pause", "finish the step and wait"), ("run", "train on until paused")):
        one = commands.add_parser(word, parents=[name, process, steer], help=says)
        one.set_defaults(act=acts.pause if word == "pause" else acts.go_on)
    found = commands.add_parser("findings", parents=[name, process], help="what looks sick")
    found.add_argument("--json", action="store_true", help="for other programs")
    found.set_defaults(act=acts.findings)
    report = commands.add_parser("report", parents=[name, process], help="write a page of HTML")
    report.add_argument("path", help="such as run.html")
    report.set_defaults(act=acts.report)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, or 2 after an error in one sentence."""
    given = parser().parse_args(arguments)
    try:
        given.act(given)
    except NbdebugError as error:
        print(f"nbdebug: {message_of(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    return 0
