"""`pielink toolexec`: stands before each tool of a go build and takes over the link step.

go build -toolexec 'pielink toolexec' runs "pielink toolexec TOOL ARG..." for every tool. All but
the linker are executed as they are, so compile steps stay cached and shared with other builds.
"""

from __future__ import annotations

import os

from pielink.errors import PielinkError, UsageError
from pielink.hints import NoReturn

USAGE = """\
usage: go build -toolexec 'pielink toolexec' [build flags] [package]

Runs a tool of the go command; the link step is done by pielink. GOOS must be darwin.

example: GOOS=darwin GOARCH=amd64 go build -toolexec 'pielink toolexec' -o hello ./cmd/hello"""


def main(argv: list[str]) -> int:
    """Run `argv` (tool and arguments), or do the link that it asks for."""
    if argv[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not argv:
        raise UsageError("which tool? the go command gives it; see pielink toolexec --help")
    tool, *arguments = argv
    if os.path.basename(tool).removesuffix(".exe") != "link":
        _execute(argv)
    if arguments == ["-V=full"]:
        print(_identity(tool))
        return 0
    from pielink.cli import link

    return link.main(arguments)


def _execute(argv: list[str]) -> NoReturn:
    """Become the tool."""
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise PielinkError(f"cannot run {argv[0]}: {error.strerror}") from None


def _identity(tool: str) -> str:
    """Go's line about its linker with pielink's identity at the end.

    The go command makes the whole line part of the key of what the linker makes
    (cmd/go/internal/work/buildid.go: toolID), so the results of two linkers are never mixed up.
    A development version of Go is keyed by a build ID at the end of the line: refused.
    """
    import subprocess

    from pielink.identity import identity

    try:
        done = subprocess.run([tool, "-V=full"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PielinkError(f"cannot ask {tool} for its version: {error}") from None
    words = done.stdout.split()
    if len(words) < 3 or words[:2] != ["link", "version"] or not words[2].startswith("go1."):
        raise PielinkError(
            f"{tool} is no release of Go ({done.stdout.strip()!r}): use Go 1.26 or 1.27"
        )
    return f"{done.stdout.strip()} {identity()}"
