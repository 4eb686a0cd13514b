"""`pielink run`: a macOS program on this machine."""

from __future__ import annotations

import argparse
import os
import sys

from pielink.errors import UsageError
from pielink.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pielink.emulator import RunResult

_EXAMPLE = """\
example:
  pielink run --seed 1 --stats ./hello world

The program gets this command's stdin, stdout, stderr, environment and files. The exit status is
the program's; 128 + N when signal N killed it; 1 when the emulator cannot go on.
"""


class _Parser(argparse.ArgumentParser):
    """Reports through UsageError, like every command."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def _number(text: str) -> int:
    return int(text, 0)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pielink run",
        description="Run a macOS program (x86_64) under the emulator.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--slide", type=_number, metavar="N", help="load N bytes above its base (default: random)"
    )
    parser.add_argument(
        "--seed",
        type=_number,
        metavar="N",
        help="draw slide, scheduling, clocks and random numbers from N: every run is the same",
    )
    parser.add_argument("--stats", action="store_true", help="tell on stderr what the run did")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a variable of its environment",
    )
    parser.add_argument(
        "--bind",
        choices=("now", "lazy"),
        default="now",
        help="bind function stubs at load or at their first call (default: now)",
    )
    parser.add_argument("file", metavar="FILE", help="a Mach-O executable")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARG", help="its arguments")
    return parser


def _environment(settings: list[str]) -> dict[str, str]:
    environment = dict(os.environ)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--env {setting}: expected NAME=VALUE")
        environment[name] = value
    return environment


def _report(result: RunResult) -> str:
    """The text of --stats."""
    found = result.statistics
    calls = sorted(found.calls.items(), key=lambda item: (-item[1], item[0]))
    top = " ".join(f"{name}:{count}" for name, count in calls[:12])
    return "\n".join(
        [
            f"exit status {result.exit_status}, slide {found.slide:#x}",
            f"load {found.load_time:.3f} s: {found.rebases} rebases, {found.binds} binds, "
            f"{found.libraries} dylibs from files",
            f"run {found.run_time:.3f} s: {found.threads} threads, {found.switches} switches, "
            f"{found.slices} slices, {found.signals} signals",
            f"{sum(found.calls.values())} calls of {len(found.calls)} imports: {top}",
        ]
    )


def main(argv: list[str]) -> int:
    """Run the command; the result is the program's exit status."""
    options = _parser().parse_args(argv)
    environment = _environment(options.env)
    from pielink.emulator import run  # unicorn is optional, and slow to import

    result = run(
        options.file,
        options.args,
        env=environment,
        slide=options.slide,
        seed=options.seed,
        bind=options.bind,
        forward_signals=True,
    )
    if result.signal:
        print(f"pielink run: killed by signal {result.signal}: {result.message}", file=sys.stderr)
    if options.stats:
        print(_report(result), file=sys.stderr)
    return result.exit_status
