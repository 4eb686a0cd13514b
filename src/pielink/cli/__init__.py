"""The command line: `pielink COMMAND ...`. A command is a module of this package with a `main`.

Modules are imported only when their command runs, so that no command pays for another's imports.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

from pielink import late, lean_import
from pielink.errors import PielinkError, UsageError
from pielink.hints import NoReturn
from pielink.version import __version__

COMMANDS = {
    "build": "go build for macOS, with the link done by pielink",
    "link": "link Go archives into an executable (the flags of go tool link)",
    "toolexec": "the -toolexec of go build: replaces the link step",
    "run": "run a macOS program under the emulator",
    "check": "does the file keep the rules of the kernel and dyld?",
    "diff": "compare two Mach-O files, part by part",
    "dyldinfo": "print what a Mach-O file tells dyld",
}


def usage() -> str:
    """The text of `pielink --help`."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pielink COMMAND [ARG...] | --version",
            "",
            "Links macOS position-independent executables on any machine.",
            "",
            *rows,
            "",
            "pielink COMMAND --help tells more; example: pielink build -o hello ./cmd/hello",
        ]
    )


# Whether this process is the command `pielink` and nothing else, so that settings which hold for a
# whole process are its to make.
owns_process = False


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status (1: it failed, 2: usage)."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if args else sys.stderr)
        return 0 if args else 2
    if args[0] in ("--version", "version"):
        print(f"pielink {__version__}")
        return 0
    if args[0] not in COMMANDS:
        print(f"pielink: unknown command {args[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    gc.disable()  # imports make many objects and no garbage
    if owns_process:
        lean_import.install()
        late.install()
    module = importlib.import_module(f"pielink.cli.{args[0]}")
    if owns_process:
        gc.freeze()  # nor will what they made become any
    gc.enable()
    try:
        return int(module.main(args[1:]))
    except UsageError as error:
        print(f"pielink {args[0]}: {error}", file=sys.stderr)
        return 2
    except PielinkError as error:
        print(f"pielink {args[0]}: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"pielink {args[0]}: out of memory: {str(error) or 'give it more'}", file=sys.stderr)
        return 1


def entry() -> NoReturn:
    """The process `pielink`: run one command and leave at once.

    os._exit skips the tear-down of the interpreter, which after a link takes as long as a pass;
    nothing here relies on it, and the streams are flushed.
    """
    global owns_process
    owns_process = True
    try:
        status = main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        status = 128 + 13
    except KeyboardInterrupt:
        status = 128 + 2
    os._exit(status)
